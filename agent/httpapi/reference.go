package httpapi

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

// ReferencePage returns the reference page of the HTTP API as Markdown, made from the table of routes, the limits and
// the API's types. doc gives what the source says of a type (with an empty field) and of its fields' JSON names.
func ReferencePage(doc func(typeName, field string) string) string {
	var b strings.Builder
	b.WriteString(referenceIntro)
	writeErrorKinds(&b)
	writeLimits(&b)
	types := referenceTypes{}
	for _, s := range referenceSections() {
		fmt.Fprintf(&b, "\n## %s\n", s.title)
		if s.intro != "" {
			fmt.Fprintf(&b, "\n%s", s.intro)
		}
		for _, rt := range s.routes {
			writeRoute(&b, &rt, &types)
		}
	}
	types.write(&b, doc)
	return b.String()
}

type referenceSection struct {
	title, intro string
	routes       []route
}

func referenceSections() []referenceSection {
	return []referenceSection{
		{"The state of the cluster", "", statusRoutes()},
		{"Keys and values", referenceKV, kvRoutes()},
		{"Sessions and locks", referenceSessions, sessionRoutes()},
		{"Events", referenceEvents, eventRoutes()},
		{"Settings", referenceSettings, settingRoutes()},
		{"The agent", "", agentRoutes()},
		{"Managed PostgreSQL", referenceCluster, clusterRoutes()},
		{"Operators", "", operatorRoutes()},
		{"Snapshots", referenceSnapshots, snapshotRoutes()},
		{"Health checks", referenceHealth, healthRoutes()},
		{"Checks for load balancers", referencePatroni, patroniRoutes()},
		{"Metrics and documents", "", documentRoutes()},
	}
}

func writeRoute(b *strings.Builder, rt *route, types *referenceTypes) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s.\n", rt.method, rt.documented(), rt.summary)
	fmt.Fprintf(b, "\nAnswered by %s", answeredBy(rt.place))
	if rt.blocking {
		b.WriteString(" · [blocking](#blocking-queries)")
	}
	if body := bodyText(rt, types); body != "" {
		fmt.Fprintf(b, " · body: %s", body)
	}
	fmt.Fprintf(b, " · answer: %s\n", answerText(rt, types))
	if len(rt.params) == 0 {
		return
	}
	b.WriteString("\n| parameter | meaning |\n|---|---|\n")
	for _, p := range rt.params {
		fmt.Fprintf(b, "| `%s` | %s |\n", p.name, p.doc)
	}
}

func bodyText(rt *route, types *referenceTypes) string {
	switch {
	case rt.in != nil:
		return types.link(reflect.TypeOf(rt.in))
	case rt.method == http.MethodPut && (strings.HasPrefix(rt.path, kvPrefix) || strings.HasPrefix(rt.path, "/v1/settings/")):
		return "the value's bytes"
	case rt.method == http.MethodPut && rt.path == "/v1/snapshot":
		return "the archive"
	}
	return ""
}

func answerText(rt *route, types *referenceTypes) string {
	switch {
	case rt.out != nil:
		return types.link(reflect.TypeOf(rt.out))
	case rt.path == "/v1/snapshot" && rt.method == http.MethodGet:
		return "`application/gzip`"
	case rt.path == "/v1/agent/monitor", rt.path == "/metrics":
		return "`text/plain`"
	case strings.HasPrefix(rt.path, "/ui/"):
		return "`text/html`"
	case rt.path == "/v1/openapi.json":
		return "an OpenAPI 3.1 document"
	case rt.path == "/{$}":
		return "307"
	}
	return "`{}`"
}

// writeErrorKinds says which codes may come from where, by who answers.
func writeErrorKinds(b *strings.Builder) {
	b.WriteString(referenceErrors)
	for _, row := range []struct {
		where string
		codes []string
	}{
		{"every route", []string{api.CodeBadRequest, api.CodeNotFound, api.CodeMethodNotAllowed, api.CodeInternal}},
		{"a web page of another origin that asks for a change", []string{api.CodeForbidden}},
		{"reads by the leader", []string{api.CodeNoLeader, api.CodeNotLeader, api.CodeUnavailable, api.CodeTimeout}},
		{"blocking queries and streams", []string{api.CodeTooMany}},
		{"writes through the log", []string{
			api.CodeConflict, api.CodePrecondition, api.CodeTooLarge, api.CodeNoLeader, api.CodeUnavailable, api.CodeTimeout,
			api.CodeInDoubt, api.CodeRetryExpired,
		}},
		{"orders to a node", []string{api.CodeConflict, api.CodeUnavailable, api.CodeInDoubt}},
		{"orders to the leader", []string{
			api.CodeConflict, api.CodeNoLeader, api.CodeNotLeader, api.CodeUnavailable, api.CodeTimeout, api.CodeInDoubt,
		}},
	} {
		var codes []string
		for _, code := range row.codes {
			codes = append(codes, fmt.Sprintf("%d `%s`", statusOf[code], code))
		}
		fmt.Fprintf(b, "| %s | %s |\n", row.where, strings.Join(codes, ", "))
	}
}

func writeLimits(b *strings.Builder) {
	var cfg Config
	cfg.setDefaults()
	b.WriteString("\n## Limits\n\n| what | at most |\n|---|---|\n")
	for _, row := range [][2]string{
		{"key", bytesText(fsm.MaxKeySize) + ", UTF-8 without NUL"},
		{"value of a key", bytesText(fsm.MaxValueSize)},
		{"transaction", fmt.Sprintf("%d compares and operations, %s of keys and values", fsm.MaxTxnOps, bytesText(fsm.MaxTxnSize))},
		{"what a transaction reads", bytesText(fsm.MaxTxnResultSize)},
		{"value of a setting", bytesText(fsm.MaxSettingSize)},
		{"names of settings, sessions and nodes", bytesText(fsm.MaxNameSize)},
		{"a session's TTL", fmt.Sprintf("%s to %s, or none", shortDuration(fsm.MinSessionTTL), shortDuration(fsm.MaxSessionTTL))},
		{"a session's lock delay", shortDuration(fsm.MaxLockDelay)},
		{"events kept", fmt.Sprint(fsm.MaxEvents)},
		{"JSON body", bytesText(maxJSONBody) + ", of a transaction " + bytesText(maxTxnBody)},
		{"request header", bytesText(maxHeaderBytes)},
		{"time to send a body", shortDuration(bodyTimeout) + "; a snapshot may take longer as long as it moves"},
		{"time for a write or a consistent read", shortDuration(cfg.WriteTimeout)},
		{"blocking queries and streams at once on a node", fmt.Sprint(cfg.MaxBlocking)},
		{"state that a restore takes", bytesText(cfg.MaxSnapshot)},
		{"results remembered for repeated requests", fmt.Sprintf("the latest %d operations, %s", fsm.Window, bytesText(fsm.WindowBytes))},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", row[0], row[1])
	}
}

func bytesText[T int | int64](n T) string {
	for _, unit := range []struct {
		size T
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d %s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// shortDuration is 24h where Duration's own text is 24h0m0s.
func shortDuration(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "m0s")
	if text != d.String() {
		text += "m"
	}
	return strings.Replace(text, "h0m", "h", 1)
}

// referenceTypes collects the types that the page links to, in the order in which it meets them.
type referenceTypes struct{ list []reflect.Type }

func (t *referenceTypes) link(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case typ == reflect.TypeFor[[]byte]():
		return "bytes in base64"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return t.link(typ.Elem())
	case reflect.Slice:
		return "array of " + t.link(typ.Elem())
	case reflect.Map:
		return "object of " + t.link(typ.Elem())
	case reflect.Struct:
		if !slices.Contains(t.list, typ) {
			t.list = append(t.list, typ)
		}
		return fmt.Sprintf("[%s](#%s)", typ.Name(), strings.ToLower(typ.Name()))
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "text"
	case reflect.Interface:
		return "number or text"
	}
	return "number"
}

func (t *referenceTypes) write(b *strings.Builder, doc func(typeName, field string) string) {
	t.link(reflect.TypeFor[api.Error]())
	b.WriteString("\n## Types\n\nTimes are RFC 3339 text. A field that is empty may be left out.\n")
	for i := 0; i < len(t.list); i++ { // grows on the way
		typ := t.list[i]
		fmt.Fprintf(b, "\n### %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", typ.Name(), doc(typ.Name(), ""))
		for _, f := range reflect.VisibleFields(typ) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.IsExported() && name != "-" && name != "" {
				fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, t.link(f.Type), doc(typ.Name(), name))
			}
		}
	}
}
