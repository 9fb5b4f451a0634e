bind_addr = "127.0.0.1"
bootstrap_expect = 3
retry_join = ["127.0.0.1:7502", "10.0.0.12"]
postgres {
  dsn = "host=/tmp user=pgraft"
}
