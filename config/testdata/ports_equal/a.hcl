bootstrap_expect = 3
ports {
  http = 7401
  console = 7402
}
telemetry {
  prometheus_addr = ":7401"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
