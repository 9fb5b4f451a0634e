package testcluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/postgres"
)

// Server is a PostgreSQL that listens on a Unix socket only, so that agents on every Host reach it. Several nodes may
// share one, each with a database of its own: what the test is about is then not PostgreSQL's end.
type Server struct {
	*postgres.Instance
	cluster *Cluster
	base    PostgresInfo
}

// PostgresInfo says how a node's PostgreSQL is reached.
type PostgresInfo struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Database string `json:"database"`
	User     string `json:"user"`
	DataDir  string `json:"data_dir"`
}

// DSN is the connection string.
func (p PostgresInfo) DSN() string {
	return fmt.Sprintf("host=%s port=%d dbname=%s user=%s sslmode=disable connect_timeout=5", p.Host, p.Port, p.Database, p.User)
}

// Database is one node's place in a Server.
type Database struct{ info PostgresInfo }

// DSN is the connection string of the superuser.
func (d *Database) DSN() string { return d.info.DSN() }

// As is the same database, reached as another role.
func (d *Database) As(role string) *Database {
	info := d.info
	info.User = role
	return &Database{info}
}

// NewServer makes a PostgreSQL and starts it. It stops with the test.
func (c *Cluster) NewServer(name string) *Server {
	c.tb.Helper()
	s := c.PrepareServer(name)
	s.Begin()
	return s
}

// PrepareServer makes a PostgreSQL that Begin starts.
func (c *Cluster) PrepareServer(name string) *Server {
	c.tb.Helper()
	dir := filepath.Join(c.root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		c.tb.Fatal(err)
	}
	port := 5432
	instance, err := postgres.New(postgres.Config{
		DataDir: filepath.Join(dir, "data"), SocketDir: filepath.Join(dir, "s"), Port: port, NoSync: true,
		Params: map[string]string{"shared_buffers": "16MB", "max_connections": "60"},
	})
	if err != nil {
		c.tb.Fatal(err)
	}
	s := &Server{Instance: instance, cluster: c}
	s.base = PostgresInfo{Host: filepath.Join(dir, "s"), Port: port, Database: "postgres", User: "postgres", DataDir: instance.Dir()}
	if err := within(time.Minute, instance.Init); err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() {
		if err := within(time.Minute, instance.Kill); err != nil {
			c.tb.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// Begin starts the server.
func (s *Server) Begin() {
	s.cluster.tb.Helper()
	if err := within(time.Minute, s.Start); err != nil {
		s.cluster.tb.Fatal(err)
	}
}

// Database creates a database for a node.
func (s *Server) Database(name string) *Database {
	s.cluster.tb.Helper()
	info := s.base
	s.Exec("CREATE DATABASE " + pgx.Identifier{name}.Sanitize())
	info.Database = name
	return &Database{info}
}

// Main is the database postgres of the server.
func (s *Server) Main() *Database { return &Database{s.base} }

// Exec runs statements in database postgres.
func (s *Server) Exec(sql string) {
	s.cluster.tb.Helper()
	err := within(time.Minute, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, s.base.DSN())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, sql)
		return err
	})
	if err != nil {
		s.cluster.tb.Fatalf("%s: %v", sql, err)
	}
}

func within(limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return do(ctx)
}
