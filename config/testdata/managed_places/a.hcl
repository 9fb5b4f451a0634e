bootstrap_expect = 3
data_dir         = "/var/lib/pgraft/raft"
postgres {
  mode     = "managed"
  data_dir = "/var/lib/pgraft"
  listen   = "0.0.0.0:7401"
}
