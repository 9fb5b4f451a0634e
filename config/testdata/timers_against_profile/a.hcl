bootstrap_expect = 3
gossip {
  profile = "local"
}
raft {
  election_timeout = "500ms"
  leader_lease_timeout = "100ms"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
