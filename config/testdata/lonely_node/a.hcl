postgres {
  dsn = "host=/tmp user=pgraft"
}
