package postgres_test

import (
	"strings"
	"testing"

	"github.com/pgraft/pgraft/postgres"
)

func TestRedact(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"no secret", "host=/run port=5432", "host=/run port=5432"},
		{"keyword", "host=a password=s3cret user=b", "host=a password=xxxxx user=b"},
		{"quoted", `password = 'it\'s s3cret' user=b`, "password=xxxxx user=b"},
		{"escaped blank", `password=s3\ cret user=b`, "password=xxxxx user=b"},
		{"upper case", "PASSWORD=s3cret", "PASSWORD=xxxxx"},
		{"key password", "sslpassword=s3cret", "sslpassword=xxxxx"},
		{"quoted others stay", `user='a b' dbname=''`, `user='a b' dbname=''`},
		{"unreadable", "s3cret", "xxxxx"},
		{"unclosed quote", "password='s3cret", "xxxxx"},
		{"url", "postgres://u:s3cret@h:1/d?sslmode=disable", "postgres://u:xxxxx@h:1/d?sslmode=disable"},
		{"url parameter", "postgresql://u@h/d?password=s3cret", "postgresql://u@h/d?password=xxxxx"},
		{"url without secret", "postgres://u@h/d", "postgres://u@h/d"},
		{"broken url", "postgres://u:s3cret@h:port/%zz", "xxxxx"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := postgres.Redact(tc.in); got != tc.want {
				t.Fatalf("Redact(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	for _, seed := range []string{"host=a user='b c'", `password=x'y\`, "a=b=c", "= x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, before string) {
		const secret = "s3cret"
		if strings.Contains(before, secret) || strings.Contains(before, "://") {
			return
		}
		got := postgres.Redact(before + " password=" + secret)
		if strings.Contains(got, secret) && !strings.ContainsAny(before, `'\=`) {
			t.Fatalf("Redact let the secret through: %q", got)
		}
	})
}
