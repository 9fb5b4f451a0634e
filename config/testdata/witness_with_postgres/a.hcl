witness = true
non_voting = true
advertise_addr = "10.0.0.13"
postgres {
  dsn = "host=/tmp user=pgraft"
}
