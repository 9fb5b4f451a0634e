bootstrap_expect = 3
raft {
  heartbeat_timeout = "1s"
  election_timeout = "500ms"
  leader_lease_timeout = "2s"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
