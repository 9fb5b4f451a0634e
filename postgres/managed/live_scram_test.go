package managed_test

import (
	"testing"

	"github.com/pgraft/pgraft/postgres/managed"
)

// liveSecret needs quotes wherever it goes.
const liveSecret = "a secret, 'quoted' \\ once"

func TestScram(t *testing.T) {
	t.Parallel()
	verifier, err := managed.ScramVerifier(liveSecret)
	if err != nil {
		t.Fatal(err)
	}
	if !managed.ScramMatches(verifier, liveSecret) || managed.ScramMatches(verifier, liveSecret+"x") {
		t.Errorf("%s tells right from wrong wrongly", verifier)
	}
	if other, err := managed.ScramVerifier(liveSecret); err != nil || other == verifier {
		t.Errorf("the salt is the same twice: %s, %v", other, err)
	}
	for _, bad := range []string{"", "md5abc", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:$:", "SCRAM-SHA-256$4096:%$a:b",
		"SCRAM-SHA-256$999999999:c2FsdA==$a:b"} {
		if managed.ScramMatches(bad, liveSecret) {
			t.Errorf("%q matches", bad)
		}
	}
	for _, bad := range []string{"", "ä", "a\x00"} {
		if _, err := managed.ScramVerifier(bad); err == nil {
			t.Errorf("secret %q is accepted", bad)
		}
	}
}
