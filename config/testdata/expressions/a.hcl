node_name = "pg-${count.index}"
cluster_name = upper("x")
postgres {
  dsn = "host=/tmp user=pgraft"
}
