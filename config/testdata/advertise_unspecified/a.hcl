advertise_addr = "0.0.0.0"
bootstrap_expect = 3
postgres {
  dsn = "host=/tmp user=pgraft"
}
