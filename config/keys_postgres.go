package config

import "time"

func postgresKeys() []Key {
	return []Key{
		{Path: "postgres.mode", Default: "`external` where `dsn` is set, else `managed`", Example: `"external"`, Values: []string{ModeManaged, ModeExternal},
			Doc: "`managed`: pgraft runs PostgreSQL itself, with replication and failover: see [Managed PostgreSQL](../managed-postgresql.md). " +
				"`external`: PostgreSQL is started and set up by someone else, pgraft writes its tables there.",
			field: func(c *Config) any { return &c.Postgres.Mode }},
		{Path: "postgres.data_dir", Example: `"/var/lib/postgresql/16/main"`,
			Doc: "Managed, and needed there: PostgreSQL's data directory. An empty or missing one is initialised or cloned, one with data is adopted. " +
				"It is for this PostgreSQL alone: a clone empties it.",
			field: func(c *Config) any { return &c.Postgres.DataDir }},
		{Path: "postgres.bin_dir", Default: "what pg_config says, then PATH, then the newest under /usr/lib/postgresql", Example: `"/usr/lib/postgresql/16/bin"`,
			Doc:   "Directory of PostgreSQL's programs.",
			field: func(c *Config) any { return &c.Postgres.BinDir }},
		{Path: "postgres.listen", Example: `"0.0.0.0:5432"`,
			Doc:   "Managed: where PostgreSQL listens, as `address:port`. The other nodes must reach it.",
			field: func(c *Config) any { return &c.Postgres.Listen }},
		{Path: "postgres.advertise", Default: "`advertise_addr` with PostgreSQL's port; external: the host of `dsn` if other nodes can reach it", Example: `"10.0.0.11:5432"`,
			Doc:   "Where clients and other nodes reach this PostgreSQL, as `host:port`.",
			field: func(c *Config) any { return &c.Postgres.Advertise }},
		{Path: "postgres.dsn", Secret: true, Example: `"host=/var/run/postgresql user=pgraft"`,
			Doc: "External: how the agent reaches PostgreSQL, as a connection string or URL of libpq. Prefer a Unix socket; a password is better kept in a passfile than here. " +
				"`pgraft setup` prepares the role. Managed: refused, the agent has a socket of its own.",
			field: func(c *Config) any { return &c.Postgres.DSN }},
		{Path: "postgres.database", Example: `"postgres"`, Default: "the database that `dsn` names, else `postgres`",
			Doc:   "Database in which schema `pgraft` lives.",
			field: func(c *Config) any { return &c.Postgres.Database }},
		{Path: "postgres.parameters", Example: `{ max_connections = "200" }`,
			Live: true, Doc: "Managed: PostgreSQL's parameters on this node. `pgraft settings set postgres.NAME VALUE` sets one for all nodes and wins. " +
				"Those that [pgraft sets itself](../managed-postgresql.md#what-pgraft-owns) are refused.",
			field: func(c *Config) any { return &c.Postgres.Parameters }},
		{Path: "postgres.hba", Example: `["host all all 10.0.0.0/8 scram-sha-256"]`,
			Live:  true,
			Doc:   "Managed: lines of pg_hba.conf, which stand before what the file has already.",
			field: func(c *Config) any { return &c.Postgres.HBA }},
		{Path: "postgres.synchronous", Example: `"quorum"`, Values: []string{SyncQuorum, SyncAsync},
			Doc: "Managed: `quorum` acknowledges a commit when a majority of the data nodes has it: none is lost with its primary. `async` acknowledges at once: " +
				"a failover loses what the lost primary alone had. The node on which the cluster's PostgreSQL begins decides.",
			field: func(c *Config) any { return &c.Postgres.Synchronous }},
		{Path: "postgres.priority", Example: `100`, Max: 1000,
			Doc:   "Managed: of nodes whose data reaches equally far, the one with the highest priority becomes primary.",
			field: func(c *Config) any { return &c.Postgres.Priority }},
		{Path: "postgres.health_interval", Example: `"250ms"`, Min: int64(10 * time.Millisecond), Max: int64(time.Minute),
			Doc:   "How often the agent checks PostgreSQL.",
			field: func(c *Config) any { return &c.Postgres.HealthInterval }},
	}
}

func tlsKeys() []Key {
	return []Key{
		{Path: "tls.ca_file", Example: `"/etc/pgraft.d/pgraft-ca.pem"`,
			Doc:   "Certificates (PEM) of the authorities that the other agents' certificates must come from.",
			field: func(c *Config) any { return &c.TLS.CAFile }},
		{Path: "tls.cert_file", Example: `"/etc/pgraft.d/pg1.pem"`,
			Doc:   "This agent's certificate (PEM), for server and client use, with intermediate certificates behind it.",
			field: func(c *Config) any { return &c.TLS.CertFile }},
		{Path: "tls.key_file", Example: `"/etc/pgraft.d/pg1-key.pem"`,
			Doc:   "Private key (PEM) of `cert_file`.",
			field: func(c *Config) any { return &c.TLS.KeyFile }},
		{Path: "tls.verify_incoming", Example: `true`,
			Doc:   "Who connects to this agent must show a certificate of `ca_file`. Agents always do. With false, anyone who can reach the Raft port can speak to it.",
			field: func(c *Config) any { return &c.TLS.VerifyIncoming }},
		{Path: "tls.verify_server_name", Default: "any certificate of `ca_file` will do", Example: `"server.prod.pgraft"`,
			Doc:   "Name that the certificate of an agent that is called must carry, beside coming from `ca_file`. Agents' addresses are not compared, since they may change.",
			field: func(c *Config) any { return &c.TLS.VerifyServerName }},
	}
}

func httpKeys() []Key {
	return []Key{
		{Path: "http.addr", Example: `"0.0.0.0"`,
			Doc:   "IP address that the HTTP API listens on. May be a go-sockaddr template. Until access control is there, who reaches it may change the cluster.",
			field: func(c *Config) any { return &c.HTTP.Addr }},
		{Path: "http.tls", Example: `true`,
			Doc:   "The HTTP API speaks HTTPS, with the certificate of block `tls`, and with `verify_incoming` asks clients for theirs.",
			field: func(c *Config) any { return &c.HTTP.TLS }},
	}
}

func laterKeys() []Key {
	return []Key{
		{Path: "acl.enabled", Example: `false`,
			Doc:   "Requests need a token. Not in this release: `true` is refused.",
			field: func(c *Config) any { return &c.ACL.Enabled }},
		{Path: "acl.token_file", Example: `""`,
			Doc:   "File with the token that the agent itself uses. Has no effect in this release.",
			field: func(c *Config) any { return &c.ACL.TokenFile }},
		{Path: "telemetry.prometheus_addr", Default: "no listener of its own", Example: `"0.0.0.0:9100"`,
			Doc:   "Where Prometheus may fetch `/metrics` beside the HTTP API, as `address:port`.",
			field: func(c *Config) any { return &c.Telemetry.PrometheusAddr }},
		{Path: "audit.enabled", Example: `false`,
			Doc:   "Commands are written to an audit log. Not in this release: `true` is refused.",
			field: func(c *Config) any { return &c.Audit.Enabled }},
		{Path: "audit.path", Example: `""`,
			Doc:   "File of the audit log. Has no effect in this release.",
			field: func(c *Config) any { return &c.Audit.Path }},
	}
}
