package managed

import (
	"slices"
	"strings"
)

// The lines around what is pgraft's in pg_hba.conf and pg_ident.conf.
const (
	blockBegin = "# BEGIN pgraft"
	blockEnd   = "# END pgraft"
)

// identMap is the map in pg_ident.conf by which the agent logs in.
const identMap = "pgraft"

// withBlock returns text with the marked block of lines at its top, in the place of one that was anywhere in it. A
// block without an end is a block of one line.
func withBlock(text string, lines []string) string {
	block := blockBegin + "\n" + strings.Join(lines, "\n") + "\n" + blockEnd + "\n"
	rest := withoutBlock(text)
	if rest == "" {
		return block
	}
	return block + "\n" + rest
}

func withoutBlock(text string) string {
	lines := strings.Split(text, "\n")
	for {
		begin := slices.IndexFunc(lines, func(l string) bool { return strings.TrimSpace(l) == blockBegin })
		if begin < 0 {
			break
		}
		after := lines[begin+1:]
		length := slices.IndexFunc(after, func(l string) bool {
			l = strings.TrimSpace(l)
			return l == blockEnd || l == blockBegin
		})
		if length >= 0 && strings.TrimSpace(after[length]) == blockEnd {
			lines = slices.Delete(lines, begin, begin+length+2)
		} else {
			lines = slices.Delete(lines, begin, begin+1)
		}
	}
	return strings.TrimLeft(strings.Join(lines, "\n"), "\r\n")
}

// hbaLines returns pgraft's lines of pg_hba.conf. PostgreSQL takes the first that fits.
func hbaLines(cfg Config, gated bool) []string {
	host, method := "host", "scram-sha-256"
	if cfg.TLS != nil {
		host = "hostssl"
		if cfg.TLS.VerifyClients && cfg.TLS.CAFile != "" {
			method += " clientcert=verify-ca"
		}
	}
	lines := []string{
		"local all " + quoteToken(cfg.Superuser) + " peer map=" + identMap,
		host + " replication " + ReplicationRole + " all " + method,
		host + " postgres " + ReplicationRole + " all " + method, // for pg_rewind
		// And in no other way, whatever the lines below allow: not without TLS where there is TLS.
		"local all,replication " + ReplicationRole + " reject",
		"host all,replication " + ReplicationRole + " all reject",
	}
	if !gated {
		return append(lines, cfg.HBA...)
	}
	return append(lines,
		"local all,replication all reject",
		"host all,replication all all reject")
}

// identLines returns pgraft's lines of pg_ident.conf.
func identLines(peers []string, superuser string) []string {
	lines := make([]string, len(peers))
	for i, peer := range peers {
		lines[i] = identMap + " " + quoteToken(peer) + " " + quoteToken(superuser)
	}
	return lines
}

// quoteToken keeps a name from being read as a keyword, a list or a group.
func quoteToken(name string) string { return `"` + name + `"` }
