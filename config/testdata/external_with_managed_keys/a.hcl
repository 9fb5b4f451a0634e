bootstrap_expect = 3
postgres {
  dsn = "host=/tmp"
  listen = "0.0.0.0:5432"
  hba = ["host all all 10.0.0.0/8 scram-sha-256"]
  parameters {
    max_connections = 200
  }
}
