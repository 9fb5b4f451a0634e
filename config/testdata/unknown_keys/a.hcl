node_nam = "pg1"
port {
  http = 7400
}
ports {
  htpp = 7400
}
raft {
  batch_size = 10
  batchsize  = 10
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
