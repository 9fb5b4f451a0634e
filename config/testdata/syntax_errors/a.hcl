node_name = "pg1
ports {
