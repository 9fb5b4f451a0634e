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
		quoteConninfo(host), i.cfg.Port, quoteConninfo(i.cfg.Superuser), quoteConninfo(db))
	if i.cfg.Password != "" {
		dsn += " password=" + quoteConninfo(i.cfg.Password)
	}
	return dsn
}

func quoteConninfo(value string) string {
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
	return i.own(path)
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
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(params[name], "'", "''"))
	}
	return b.String()
}

// makeDir makes dir and its parents where they are missing, as the server's user's own.
func (i *Instance) makeDir(dir string) error {
	if dir == "" {
		return nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := i.makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	return i.own(dir)
}

// own gives a file or directory to the user that the server runs as.
func (i *Instance) own(path string) error {
	if i.cred == nil {
		return nil
	}
	if err := os.Chown(path, int(i.cred.Uid), int(i.cred.Gid)); err != nil {
		return fmt.Errorf("give file to PostgreSQL's user: %w", err)
	}
	return nil
}

// logTail returns the last lines of the server's log, for an error message.
func (i *Instance) logTail() string {
	const tail = 4096
	f, err := os.Open(i.cfg.LogFile)
	if err != nil {
		return "no server log: " + err.Error()
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "no server log: " + err.Error()
	}
	buf := make([]byte, min(tail, info.Size()))
	n, _ := f.ReadAt(buf, info.Size()-int64(len(buf))) // what could be read is shown
	return fmt.Sprintf("%s (%s)", lastLines(buf[:n], 5), i.cfg.LogFile)
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
