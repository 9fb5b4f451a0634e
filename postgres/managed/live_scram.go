package managed

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scramRounds is PostgreSQL's own number. The secret is random and long, so that more would protect nothing.
const scramRounds = 4096

// maxScramRounds bounds what is computed for a verifier that was found.
const maxScramRounds = 1_000_000

// scramVerifier returns what PostgreSQL stores for a password, so that the password itself is in no statement and in
// no log.
func scramVerifier(secret string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	return scramWith(secret, salt, scramRounds)
}

func scramWith(secret string, salt []byte, rounds int) (string, error) {
	// SASLprep, which PostgreSQL applies, changes nothing in printable ASCII.
	for _, c := range []byte(secret) {
		if c < ' ' || c > '~' {
			return "", errors.New("make password verifier: the secret has characters other than printable ASCII")
		}
	}
	if secret == "" {
		return "", errors.New("make password verifier: the secret is empty")
	}
	salted, err := pbkdf2.Key(sha256.New, secret, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("make password verifier: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, encode(salt), encode(stored[:]), encode(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// scramMatches reports whether verifier is one for secret.
func scramMatches(verifier, secret string) bool {
	rest, ok := strings.CutPrefix(verifier, "SCRAM-SHA-256$")
	head, _, ok2 := strings.Cut(rest, "$")
	roundsText, saltText, ok3 := strings.Cut(head, ":")
	if !ok || !ok2 || !ok3 {
		return false
	}
	rounds, err := strconv.Atoi(roundsText)
	if err != nil || rounds < 1 || rounds > maxScramRounds {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(saltText)
	if err != nil {
		return false
	}
	again, err := scramWith(secret, salt, rounds)
	return err == nil && hmac.Equal([]byte(again), []byte(verifier))
}
