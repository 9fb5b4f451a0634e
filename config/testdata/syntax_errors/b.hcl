ports { http = 1 raft = 2 }
