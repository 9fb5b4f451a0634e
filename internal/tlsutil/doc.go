// Package tlsutil makes the certificates that pgraft's agents speak TLS with, and takes replaced ones up without a
// restart.
//
// CreateCA and CreateCert write the files for `pgraft tls`. A Reloader serves one agent: the tls.Configs that it gives
// out ask it for certificate and authorities at each handshake. It starts no goroutine; files are looked at during
// handshakes, at most once a second. The invariant: what a Reloader uses passed every check as a whole (key fits
// certificate, certificate comes from the authorities and has not expired); files that don't pass never replace it.
package tlsutil
