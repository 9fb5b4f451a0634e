package command_test

import (
	"slices"
	"strings"
	"testing"
)

// allVerbs is the contract: DESIGN.md 8 without what comes in later releases.
var allVerbs = []string{
	"agent", "demo", "setup", "status", "members", "info", "events", "monitor", "version", "validate", "reload",
	"join", "leave", "force-leave", "failover", "switchover", "restart", "reinit", "pause", "resume", "wait", "settings list", "settings get", "settings set", "settings unset",
	"kv get", "kv put", "kv delete", "kv list", "kv export", "kv import", "lock", "watch",
	"keygen", "keyring list", "keyring install", "keyring use", "keyring remove", "tls ca create", "tls cert create",
	"operator raft list-peers", "operator raft remove-peer", "operator raft transfer-leader", "operator raft recover",
	"operator raft info", "operator autopilot get-config", "operator autopilot set-config", "operator autopilot state",
	"snapshot save", "snapshot restore", "snapshot inspect", "completion", "monitoring export", "checklist", "drill failover",
}

func TestHelp(t *testing.T) {
	for _, verb := range allVerbs {
		t.Run(verb, func(t *testing.T) {
			for _, flag := range []string{"-h", "--help"} {
				r := run(t, "", append(strings.Fields(verb), flag)...)
				if r.code != 0 || r.stderr != "" {
					t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
				}
				if !strings.HasPrefix(r.stdout, "Usage: pgraft "+verb) || !strings.Contains(r.stdout, "Example") {
					t.Errorf("no usage or no example:\n%s", r.stdout)
				}
				fits(t, r.stdout)
			}
		})
	}
}

func TestGroupHelpListsVerbs(t *testing.T) {
	for _, verb := range allVerbs {
		words := strings.Fields(verb)
		for i := 1; i < len(words); i++ {
			r := run(t, "", append(slices.Clone(words[:i]), "-h")...)
			if r.code != 0 || !strings.Contains(r.stdout, "\n  "+words[i]+" ") || !strings.Contains(r.stdout, "Example") {
				t.Errorf("help of %v does not list %s (code %d):\n%s", words[:i], words[i], r.code, r.stdout)
			}
		}
	}
	overview := run(t, "", "-h")
	for _, verb := range allVerbs {
		if first := strings.Fields(verb)[0]; !strings.Contains(overview.stdout, "\n  "+first+" ") {
			t.Errorf("the overview lacks %s", first)
		}
	}
	fits(t, overview.stdout)
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "Usage: pgraft VERB"},
		{"unknown verb", []string{"statsu"}, `Did you mean "status"?`},
		{"unknown verb like none", []string{"xyzzy"}, `no command "xyzzy"`},
		{"unknown verb in a group", []string{"kv", "gte"}, `Did you mean "get"?`},
		{"group alone", []string{"operator", "raft"}, "list-peers"},
		{"unknown flag", []string{"status", "-formt=json"}, "did you mean -format?"},
		{"flag before the verb", []string{"-format=json", "status"}, "behind the verb"},
		{"bad flag value", []string{"status", "-format=xml"}, "want table or json"},
		{"missing argument", []string{"join"}, "ADDR is missing"},
		{"one argument too many", []string{"kv", "get", "a", "b"}, `unexpected argument "b"`},
		{"arguments where there are none", []string{"status", "pg1"}, "takes none"},
		{"bad address", []string{"status", "-http-addr=ftp://x"}, "want http://"},
		{"both kinds of read", []string{"kv", "get", "-stale", "-consistent", "a"}, "exclude each other"},
		{"bad key", []string{"keyring", "use", "abc"}, "no gossip key"},
		{"bad condition", []string{"wait", "-for=tea"}, `can't wait for "tea"`},
		{"bad log level", []string{"monitor", "-log-level=loud"}, "no log level"},
		{"shell without completion", []string{"completion", "tcsh"}, "want bash, zsh or fish"},
		{"lock without a command", []string{"lock", "k"}, "too few arguments"},
		{"no change", []string{"operator", "autopilot", "set-config"}, "nothing to change"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, "", tt.args...)
			if r.code != 2 {
				t.Errorf("exit code %d, want 2", r.code)
			}
			if r.stdout != "" || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("stdout %q, stderr %q, want %q in it", r.stdout, r.stderr, tt.want)
			}
		})
	}
}

func TestFlagsMayFollowArguments(t *testing.T) {
	r := run(t, "", "settings", "set", "a", "-1", "-http-addr=http://127.0.0.1:1")
	if r.code != 1 || !strings.Contains(r.stderr, "no agent answers at http://127.0.0.1:1") {
		t.Errorf("code %d, stderr %q", r.code, r.stderr)
	}
}

func TestVersionAndKeygen(t *testing.T) {
	if r := run(t, "", "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "pgraft 0.") {
		t.Errorf("version: %+v", r)
	}
	if r := run(t, "", "-version"); r.code != 0 || !strings.HasPrefix(r.stdout, "pgraft 0.") {
		t.Errorf("-version: %+v", r)
	}
	one, two := run(t, "", "keygen"), run(t, "", "keygen")
	if one.code != 0 || len(strings.TrimSpace(one.stdout)) != 44 || one.stdout == two.stdout {
		t.Errorf("keygen: %q, %q", one.stdout, two.stdout)
	}
}

func TestCompletion(t *testing.T) {
	complete := func(line string) []string {
		out, err := process(t, []string{"COMP_LINE=" + line}, "x").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	offered := map[string][]string{}
	for _, verb := range allVerbs {
		words := strings.Fields(verb)
		for i, word := range words {
			line := strings.Join(append([]string{"pgraft"}, words[:i]...), " ") + " "
			if offered[line] == nil {
				offered[line] = complete(line)
			}
			if !slices.Contains(offered[line], word) {
				t.Errorf("completion of %q lacks %s: %v", line, word, offered[line])
			}
		}
	}
	if got := complete("pgraft status -for"); !slices.Equal(got, []string{"-format"}) {
		t.Errorf("completion of a flag gives %v", got)
	}
	if got := complete("pgraft completion "); !slices.Contains(got, "fish") {
		t.Errorf("completion of an argument gives %v", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := run(t, "", "completion", shell); r.code != 0 || !strings.Contains(r.stdout, "complete ") {
			t.Errorf("completion %s: %+v", shell, r)
		}
	}
}
