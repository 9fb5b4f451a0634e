package command

import (
	"strings"

	"github.com/hashicorp/cli"
)

// verbs returns a new one of each verb.
func verbs() []verb {
	return []verb{
		&agentCmd{}, &demoCmd{}, &setupCmd{}, &validateCmd{},
		&statusCmd{}, &membersCmd{}, &infoCmd{}, &eventsCmd{}, &monitorCmd{}, &versionCmd{},
		&joinCmd{}, &leaveCmd{}, &forceLeaveCmd{}, &reloadCmd{}, &waitCmd{},
		&failoverCmd{}, &switchoverCmd{}, &restartCmd{}, &reinitCmd{}, &pauseCmd{}, &resumeCmd{},
		&settingsListCmd{}, &settingsGetCmd{}, &settingsSetCmd{}, &settingsUnsetCmd{},
		&kvGetCmd{}, &kvPutCmd{}, &kvDeleteCmd{}, &kvListCmd{}, &kvExportCmd{}, &kvImportCmd{}, &lockCmd{}, &watchCmd{},
		&keygenCmd{}, &keyringListCmd{}, &keyringInstallCmd{}, &keyringUseCmd{}, &keyringRemoveCmd{},
		&raftListPeersCmd{}, &raftRemovePeerCmd{}, &raftTransferCmd{}, &raftInfoCmd{}, &raftRecoverCmd{},
		&autopilotGetCmd{}, &autopilotSetCmd{}, &autopilotStateCmd{},
		&snapshotSaveCmd{}, &snapshotRestoreCmd{}, &snapshotInspectCmd{},
		&tlsCACreateCmd{}, &tlsCertCreateCmd{}, &completionCmd{},
		&monitoringExportCmd{}, &checklistCmd{}, &drillFailoverCmd{},
	}
}

// groupTexts describes the words that have verbs below them.
var groupTexts = []group{
	{name: "kv", synopsis: "Read and write the replicated key/value store", example: "pgraft kv put app/config @config.json"},
	{name: "settings", synopsis: "Read and change cluster-wide settings", example: "pgraft settings list"},
	{name: "keyring", synopsis: "Manage the keys that encrypt gossip", example: "pgraft keyring list"},
	{name: "snapshot", synopsis: "Save, restore and inspect the replicated state", example: "pgraft snapshot save backup.snap"},
	{name: "monitoring", synopsis: "Get what Prometheus and Grafana need", example: "pgraft monitoring export rules"},
	{name: "drill", synopsis: "Practise what must work when it is needed", example: "pgraft drill failover"},
	{name: "tls", synopsis: "Make certificates for the agents and their clients", example: "pgraft tls ca create"},
	{name: "tls ca", synopsis: "Make a certificate authority", example: "pgraft tls ca create"},
	{name: "tls cert", synopsis: "Make certificates", example: "pgraft tls cert create -node=pg1 -ip=10.0.0.11"},
	{name: "operator", synopsis: "Look after Raft and autopilot", example: "pgraft operator raft list-peers"},
	{name: "operator raft", synopsis: "Look after the Raft cluster", example: "pgraft operator raft list-peers"},
	{name: "operator autopilot", synopsis: "Look after autopilot", example: "pgraft operator autopilot state"},
}

// groups is the order of the overview.
var groups = []struct {
	title string
	verbs []string
}{
	{"Start", []string{"demo", "setup", "agent", "validate"}},
	{"See", []string{"status", "members", "info", "events", "monitor", "version"}},
	{"Change", []string{"join", "leave", "force-leave", "reload", "settings", "wait"}},
	{"PostgreSQL", []string{"switchover", "failover", "restart", "reinit", "pause", "resume"}},
	{"Use", []string{"kv", "lock", "watch"}},
	{"Operate", []string{"operator", "snapshot", "keygen", "keyring", "tls", "monitoring", "checklist", "drill", "completion"}},
}

// commands returns what the cli package dispatches on.
func commands(w *world) map[string]cli.CommandFactory {
	all := map[string]cli.CommandFactory{}
	synopses := map[string]string{}
	for _, v := range verbs() {
		name := v.spec().name
		synopses[name] = v.spec().synopsis
		all[name] = func() (cli.Command, error) { return newAdapter(v, w), nil }
	}
	for _, g := range groupTexts {
		synopses[g.name] = g.synopsis
	}
	for _, g := range groupTexts {
		g.world = w
		g.below = below(g.name, synopses)
		all[g.name] = func() (cli.Command, error) { return &g, nil }
	}
	return all
}

// below returns the verbs directly below the group.
func below(group string, synopses map[string]string) map[string]string {
	verbs := map[string]string{}
	for name, synopsis := range synopses {
		rest, ok := strings.CutPrefix(name, group+" ")
		if ok && !strings.Contains(rest, " ") {
			verbs[rest] = synopsis
		}
	}
	return verbs
}
