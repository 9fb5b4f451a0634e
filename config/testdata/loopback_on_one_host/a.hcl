bind_addr = "127.0.0.1"
bootstrap_expect = 3
retry_join = ["127.0.0.1:7502", "localhost:7602", "[::1]:7702"]
postgres {
  dsn = "host=/tmp user=pgraft"
}
