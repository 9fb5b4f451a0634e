node_name        = "pg2"
cluster_name     = "demo"
data_dir         = "/tmp/demo/pg2/data"
run_dir          = "/tmp/a \"quoted\" $${dir} %%{x}"
bind_addr        = "127.0.0.1"
advertise_addr   = "127.0.0.1"
bootstrap_expect = 3
retry_join       = ["127.0.0.1:7402", "127.0.0.1:7422"]
retry_interval   = "1s"

ports {
  http    = 7410
  raft    = 7411
  gossip  = 7412
  console = 7413
}

postgres {
  database  = "postgres"
  advertise = "127.0.0.1:7414"
  mode      = "managed"
  data_dir  = "/tmp/demo/pg2/postgres"
  listen    = "127.0.0.1:7414"
  hba       = ["host all all 127.0.0.1/32 trust"]
  parameters {
    max_connections = "50"
    shared_buffers  = "32MB"
  }
}
