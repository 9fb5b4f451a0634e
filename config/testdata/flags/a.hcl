bootstrap_expect = 3
http {
  addr = "all"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
