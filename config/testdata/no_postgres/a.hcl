node_name = "pg1"
bootstrap_expect = 3
