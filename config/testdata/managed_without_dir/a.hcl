bootstrap_expect = 3
postgres {
  mode   = "managed"
  listen = "5432"
}
