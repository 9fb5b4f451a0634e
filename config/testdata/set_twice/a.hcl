log_level = "info"
log_level = "warn"
postgres {
  dsn = "host=/tmp user=pgraft"
}
