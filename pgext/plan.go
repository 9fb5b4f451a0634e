package pgext

import (
	"fmt"
	"path/filepath"
	"strings"
)

const minServerVersion = 140000

// plan decides what is to be done to a server in a given state. It is all of the installation's judgement and touches
// nothing. A change of files, if there is one, comes first.
func plan(s serverState, opt InstallOptions) ([]Change, error) {
	if s.versionNum < minServerVersion {
		return nil, &InstallError{
			Kind: InstallTooOld, Message: "PostgreSQL " + s.serverVersion + " is too old",
			Hint: "pgraft needs PostgreSQL 14 or later",
		}
	}
	if !filepath.IsAbs(opt.RunDir) {
		return nil, fmt.Errorf("plan installation: run_dir %q is not an absolute path", opt.RunDir)
	}
	target, err := opt.Files.Version()
	if err != nil {
		return nil, err
	}
	var changes []Change
	if s.extensionDir != "" && len(s.files) > 0 {
		changes = append(changes, Change{
			What: "write the extension's files", Dir: s.extensionDir, Files: s.files,
		})
	}
	if s.inRecovery {
		return planStandby(s, changes)
	}
	objects, err := planObjects(s, opt, target)
	if err != nil {
		return nil, err
	}
	changes = append(changes, objects...)
	changes = append(changes, planLocal(s, opt)...)
	return append(changes, planAgent(s, opt)...), nil
}

func planStandby(s serverState, changes []Change) ([]Change, error) {
	if s.installed() == "" {
		return nil, &InstallError{
			Kind: InstallStandby, Message: "the server is a standby, and its primary has no extension pgraft",
			Hint: "start the agent beside the primary first, or run pgraft setup there",
		}
	}
	return changes, nil
}

func planObjects(s serverState, opt InstallOptions, target string) ([]Change, error) {
	have := s.installed()
	if s.extension != "" && !s.ours {
		return nil, &InstallError{
			Kind: InstallForeign, Message: "database " + s.database + " has another extension by the name of pgraft",
			Hint: "remove it with DROP EXTENSION pgraft, or give pgraft another database",
		}
	}
	if have == target || have != "" && newer(have, target) {
		return nil, nil
	}
	if have == "" && s.schemaOwner != "" {
		return nil, &InstallError{
			Kind: InstallForeign, Message: "database " + s.database + " has a schema pgraft that pgraft did not make",
			Hint: "rename or drop it, or give pgraft another database",
		}
	}
	if !s.dblink && !s.dblinkAvailable {
		return nil, &InstallError{
			Kind: InstallNoDblink, Message: "the server lacks the extension dblink",
			Hint: fmt.Sprintf("install PostgreSQL's contrib modules: package postgresql-contrib, on Debian and Ubuntu postgresql-%d, on Red Hat postgresql%d-contrib",
				s.versionNum/10000, s.versionNum/10000),
		}
	}
	if len(s.missing) > 0 {
		return nil, &InstallError{
			Kind: InstallNoRights, Message: fmt.Sprintf("role %s lacks rights to install pgraft in database %s", s.user, s.database),
			Hint: "run pgraft setup with the dsn of a superuser, or let one run there: " + strings.Join(s.missing, "; "),
		}
	}
	return objectChanges(s, opt, target)
}

func objectChanges(s serverState, opt InstallOptions, target string) ([]Change, error) {
	var changes []Change
	if !s.dblink {
		changes = append(changes, Change{What: "create extension dblink", SQL: "CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public"})
	}
	if len(s.leftover) > 0 {
		changes = append(changes, Change{
			What: "remove the functions of an earlier installation", SQL: "DROP FUNCTION " + strings.Join(s.leftover, ", "),
		})
	}
	canExtend := s.available || s.extensionDir != ""
	switch {
	case s.extension != "" && !canExtend:
		return nil, &InstallError{
			Kind:    InstallNoFiles,
			Message: fmt.Sprintf("extension pgraft %s can't be upgraded to %s: its files can't be written", s.extension, target),
			Hint:    "run pgraft setup on the server's host as a user who may write PostgreSQL's extension directory",
		}
	case s.extension != "":
		return append(changes, Change{
			What: fmt.Sprintf("upgrade extension pgraft from %s to %s", s.extension, target),
			SQL:  "ALTER EXTENSION pgraft UPDATE TO " + literal(target),
		}), nil
	case s.inline == "" && canExtend:
		return append(changes, Change{
			What: "create extension pgraft " + target,
			SQL:  "CREATE EXTENSION pgraft SCHEMA " + ident(opt.Schema) + " VERSION " + literal(target),
		}), nil
	}
	inline, err := inlineChanges(s, opt, target)
	return append(changes, inline...), err
}

func inlineChanges(s serverState, opt InstallOptions, target string) ([]Change, error) {
	schema := opt.Schema
	if s.inlineSchema != "" {
		schema = s.inlineSchema
	}
	scripts, ok := opt.Files.chain(s.inline, target)
	if !ok {
		return nil, &InstallError{
			Kind:    InstallNoScript,
			Message: fmt.Sprintf("no script leads from version %q of schema pgraft to %s", s.inline, target),
			Hint:    "run DROP SCHEMA pgraft CASCADE; the agent creates it again and fills it from the cluster's state",
		}
	}
	var changes []Change
	for _, name := range scripts {
		sql, err := opt.Files.script(name, ident(schema))
		if err != nil {
			return nil, err
		}
		changes = append(changes, Change{What: "run script " + name + " without an extension, as its files can't be written", SQL: sql})
	}
	return changes, nil
}

func planLocal(s serverState, opt InstallOptions) []Change {
	if s.localRunDir == opt.RunDir && s.localPort == opt.ConsolePort && s.localName == opt.NodeName {
		return nil
	}
	return []Change{{
		What: fmt.Sprintf("tell the functions that the agent's run_dir is %s and its console's port %d", opt.RunDir, opt.ConsolePort),
		SQL: fmt.Sprintf(`INSERT INTO pgraft.local (run_dir, console_port, node_name) VALUES (%s, %d, %s)
ON CONFLICT (singleton) DO UPDATE SET run_dir = excluded.run_dir, console_port = excluded.console_port, node_name = excluded.node_name`,
			literal(opt.RunDir), opt.ConsolePort, literal(opt.NodeName)),
	}}
}

func planAgent(s serverState, opt InstallOptions) []Change {
	if opt.AgentRole == "" || s.agentRights || opt.AgentRole == s.user {
		return nil
	}
	var changes []Change
	role := ident(opt.AgentRole)
	if !s.agentRole {
		changes = append(changes, Change{What: "create role " + opt.AgentRole + " for the agent", SQL: "CREATE ROLE " + role + " LOGIN"})
	}
	return append(changes, Change{
		What: "let role " + opt.AgentRole + " write the rows of schema pgraft and see the server's statistics",
		SQL: "GRANT pg_monitor TO " + role + `;
GRANT USAGE ON SCHEMA pgraft TO ` + role + `;
GRANT SELECT, INSERT, UPDATE, DELETE ON pgraft.meta, pgraft.kv, pgraft.node, pgraft.setting, pgraft.event, pgraft.local TO ` + role + `;
GRANT EXECUTE ON FUNCTION pgraft.advance(bigint, bigint, bigint, text) TO ` + role,
	})
}

// literal quotes a string whatever standard_conforming_strings says.
func literal(s string) string {
	quoted := strings.ReplaceAll(s, "'", "''")
	if !strings.Contains(quoted, `\`) {
		return "'" + quoted + "'"
	}
	return " E'" + strings.ReplaceAll(quoted, `\`, `\\`) + "'"
}
