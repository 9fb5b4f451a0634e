package httpapi

import (
	_ "embed" // the page
	"net/http"
)

//go:embed ui.html
var uiPage []byte

func (s *Server) getUI(w http.ResponseWriter, _ *request) error {
	h := w.Header()
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-cache")
	return writeBytes(w, contentHTML, uiPage)
}

func (s *Server) getRoot(w http.ResponseWriter, r *request) error {
	http.Redirect(w, r.Request, "/ui/", http.StatusTemporaryRedirect)
	return nil
}
