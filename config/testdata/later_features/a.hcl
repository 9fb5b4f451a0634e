bootstrap_expect = 3
acl {
  enabled = true
}
audit {
  enabled = true
  path = "/var/log/pgraft-audit.log"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
