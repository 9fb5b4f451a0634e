bootstrap_expect = 4
postgres {
  dsn = "host=/tmp user=pgraft"
}
