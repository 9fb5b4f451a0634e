bootstrap_expect = 3
postgres {
  data_dir = "/var/lib/postgresql/16/main"
}
