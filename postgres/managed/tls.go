package managed

// TLSFiles are the agent's certificate files, which PostgreSQL uses, too. WriteConfig copies them to where PostgreSQL's
// user may read them: see Server.TLS.
type TLSFiles struct {
	CAFile, CertFile, KeyFile string
	// VerifyClients asks standbys for a certificate of the CA.
	VerifyClients bool
}
