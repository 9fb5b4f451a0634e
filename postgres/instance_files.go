package postgres

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ownFile is included by the instance's postgresql.conf and written anew at each start.
const ownFile = "pgraft.instance.conf"

// Dir returns the data directory.
func (i *Instance) Dir() string { return i.cfg.DataDir }

// BinDir returns where the server's programs are.
func (i *Instance) BinDir() string { return i.cfg.BinDir }

// SetParam sets one configuration parameter; it counts from the next start on.
func (i *Instance) SetParam(name, value string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	params := maps.Clone(i.cfg.Params)
	if params == nil {
		params = map[string]string{}
	}
	params[name] = value
	i.cfg.Params = params
}

// DSN returns a connection string for the superuser and the database db: by socket if there is one, else by TCP. It
// holds the password: see Redact.
func (i *Instance) DSN(db string) string {
	host := i.cfg.SocketDir
	if host == "" {
		host = i.cfg.Host
	}
	dsn := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable",
		QuoteConninfo(host), i.cfg.Port, QuoteConninfo(i.cfg.Superuser), QuoteConninfo(db))
	if i.cfg.Password != "" {
		dsn += " password=" + QuoteConninfo(i.cfg.Password)
	}
	return dsn
}

// QuoteConninfo returns value as it is written after the equals sign in a connection string of libpq.
func QuoteConninfo(value string) string {
	if value != "" && !strings.ContainsAny(value, ` '\`+"\t\n") {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

func (i *Instance) includeOwnFile() error {
	path := filepath.Join(i.cfg.DataDir, "postgresql.conf")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open postgresql.conf: %w", err)
	}
	_, err = fmt.Fprintf(f, "\ninclude_if_exists = '%s'\n", ownFile)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write postgresql.conf: %w", err)
	}
	return nil
}

func (i *Instance) writeOwnFile() error {
	path := filepath.Join(i.cfg.DataDir, ownFile)
	if err := os.WriteFile(path, []byte(renderParams(i.cfg)), 0o600); err != nil {
		return fmt.Errorf("write server settings: %w", err)
	}
	return i.pm.Owner.Own(path)
}

// renderParams returns the configuration file's text, in the order of the names.
func renderParams(cfg Config) string {
	params := map[string]string{
		"listen_addresses":        cfg.Host,
		"port":                    strconv.Itoa(cfg.Port),
		"unix_socket_directories": cfg.SocketDir,
		"logging_collector":       "off", // the log is standard error, which Start points to LogFile
	}
	if cfg.NoSync {
		maps.Copy(params, map[string]string{"fsync": "off", "full_page_writes": "off"})
	}
	maps.Copy(params, cfg.Params)
	return RenderParams(params)
}

// RenderParams returns lines of postgresql.conf, in the order of the names.
func RenderParams(params map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&b, "%s = %s\n", name, QuoteParam(params[name]))
	}
	return b.String()
}

// QuoteParam returns value as it is written after the equals sign in postgresql.conf.
func QuoteParam(value string) string {
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(value) + "'"
}

// LastLines returns the last n lines of a program's output as one line, for an error message.
func LastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
