bootstrap_expect = 3
http {
  tls = true
}
tls {
  verify_incoming = true
  verify_server_name = "server.prod.pgraft"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
