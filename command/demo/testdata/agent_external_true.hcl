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
  mode      = "external"
  dsn       = "host=127.0.0.1 port=7414 dbname=postgres user=postgres sslmode=disable"
}
