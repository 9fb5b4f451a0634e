node_name        = "pg 1"
cluster_name     = "-prod"
bind_addr        = "10.0.0.11:7401"
advertise_addr   = "10.0.0.300"
bootstrap_expect = -1
retry_join       = ["10.0.0.12:99999", "not a host", "10.0.0.12", "[fd00::1]:7402", "fd00::2"]
retry_interval   = "5 parsecs"
encrypt          = "secret"
log_level        = "loud"

ports {
  http = 70000
}

postgres {
  dsn             = "host=/tmp port=elephant password=secret"
  mode            = "external"
  advertise       = "10.0.0.11"
  health_interval = "1ns"
}

gossip {
  profile = "moon"
}

telemetry {
  prometheus_addr = "9100"
}
