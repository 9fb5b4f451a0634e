package managed_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgraft/pgraft/postgres"
	"github.com/pgraft/pgraft/postgres/managed"
)

func TestConninfoIsReadAsWritten(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"plain", "with space", `it's`, `back\slash`, `'`, `\'`, "a=b"} {
		info := managed.Conninfo(managed.Target{Host: "10.0.0.1", Port: 5433, Secret: secret, AppName: "pgraft_1_x"})
		cfg, err := pgconn.ParseConfig(info)
		if err != nil {
			t.Fatalf("secret %q: %v", secret, err)
		}
		if cfg.Password != secret || cfg.Host != "10.0.0.1" || cfg.Port != 5433 || cfg.User != managed.ReplicationRole {
			t.Errorf("secret %q: got %s@%s:%d password %q", secret, cfg.User, cfg.Host, cfg.Port, cfg.Password)
		}
		if cfg.TLSConfig != nil || cfg.RuntimeParams["application_name"] != "pgraft_1_x" {
			t.Errorf("secret %q: TLS %v, parameters %v", secret, cfg.TLSConfig, cfg.RuntimeParams)
		}
		if redacted := postgres.Redact(info); len(secret) > 2 && strings.Contains(redacted, secret) {
			t.Errorf("redacted conninfo shows the secret: %s", redacted)
		}
	}
}

func TestConninfoTLS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		tls  *managed.ClientTLS
		want string
	}{
		{"none", nil, "sslmode=disable"},
		{"no authority", &managed.ClientTLS{}, "sslmode=require"},
		{"authority", &managed.ClientTLS{CAFile: "/c a", CertFile: "/c", KeyFile: "/k"},
			"sslmode=verify-ca sslrootcert='/c a' sslcert=/c sslkey=/k"},
		{"name", &managed.ClientTLS{CAFile: "/a", VerifyName: true}, "sslmode=verify-full sslrootcert=/a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := managed.Conninfo(managed.Target{Host: "h", Port: 1, TLS: tt.tls})
			if !strings.HasSuffix(got, " "+tt.want) {
				t.Errorf("got %s, want it to end in %s", got, tt.want)
			}
		})
	}
}
