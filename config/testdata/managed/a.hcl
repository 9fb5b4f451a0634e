bootstrap_expect = 3
postgres {
  mode     = "managed"
  data_dir = "/var/lib/postgresql/16/main"
  hba      = ["host all all 10.0.0.0/8 scram-sha-256"]
  parameters {
    max_connections = 200
    fsync           = "off"
  }
}
