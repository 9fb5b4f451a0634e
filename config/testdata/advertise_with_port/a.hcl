advertise_addr = "10.0.0.11:7401"
bootstrap_expect = 3
postgres {
  dsn = "host=/tmp user=pgraft"
}
