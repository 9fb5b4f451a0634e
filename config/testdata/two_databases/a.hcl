bootstrap_expect = 3
postgres {
  dsn = "host=/tmp dbname=app"
  database = "postgres"
}
