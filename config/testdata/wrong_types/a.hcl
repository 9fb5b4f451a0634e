node_name        = 5
bootstrap_expect = "three"
retry_join       = "10.0.0.12"
retry_interval   = 5
witness          = "no"
log_json         = 1

ports {
  http = "7400"
  raft = 74.5
}

postgres {
  dsn = ["host=/tmp"]
  hba = [1, 2]
  parameters {
    shared_buffers = ["1GB"]
  }
}
raft {
  trailing_logs = -5
}
