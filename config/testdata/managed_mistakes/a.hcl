bootstrap_expect = 3
postgres {
  mode     = "managed"
  data_dir = "/var/lib/postgresql/16/main"
  dsn      = "host=/tmp"
  listen   = "127.0.0.1:5432"
  hba      = ["host all all scram-sha-256", "# all", "allow all"]
  parameters {
    primary_conninfo          = "host=other"
    synchronous_standby_names = "*"
    port                      = 5433
    Work_Mem                  = "64MB"
    synchronous_commit        = "local"
    max_wal_senders           = 2
    wal_level                 = "minimal"
    search_path               = "a\nb"
  }
}
