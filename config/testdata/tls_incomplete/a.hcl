bootstrap_expect = 3
tls {
  cert_file = "/nonexistent/pg1.pem"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
