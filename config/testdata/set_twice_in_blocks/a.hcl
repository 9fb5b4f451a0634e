ports {
  http = 7400
}
ports {
  http = 8400
  raft = 8401
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
