package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *request) error {
	doc, err := s.document()
	if err != nil {
		return err
	}
	return writeBytes(w, contentJSON, doc)
}

// object is a JSON object under construction. encoding/json writes its keys in order.
type object = map[string]any

// RouteDoc describes one route to whoever writes the reference page.
type RouteDoc struct {
	Method, Path, Summary string
	Answered              string // by whom
	Params                [][2]string
}

// Reference lists all routes in the table's order.
func Reference() []RouteDoc {
	var out []RouteDoc
	for _, rt := range routes() {
		doc := RouteDoc{Method: rt.method, Path: rt.documented(), Summary: rt.summary, Answered: answeredBy(rt.place)}
		for _, p := range rt.allParams() {
			doc.Params = append(doc.Params, [2]string{p.name, p.doc})
		}
		out = append(out, doc)
	}
	return out
}

func answeredBy(p place) string {
	switch p {
	case placeRead:
		return "the leader, or with stale the asked node"
	case placeLeader:
		return "the leader"
	case placeLog:
		return "any node, through the log"
	case placeNode:
		return "the node that the body names"
	}
	return "the asked node"
}

// buildOpenAPI writes the OpenAPI 3.1 document of the routes.
func buildOpenAPI(table []route, version string) ([]byte, error) {
	schemas := schemaSet{defs: object{}}
	paths := map[string]object{}
	for i := range table {
		rt := &table[i]
		path := rt.documented()
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path][strings.ToLower(rt.method)] = schemas.operation(rt)
	}
	if version == "" {
		version = "dev"
	}
	schemas.of(reflect.TypeFor[api.Error]())
	doc, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "pgraft", "version": version,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths":      paths,
		"components": object{"schemas": schemas.defs},
	})
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI document: %w", err)
	}
	return doc, nil
}

// schemaSet collects the schemas of named types.
type schemaSet struct{ defs object }

var pathParam = regexp.MustCompile(`\{([a-z]+)\}`)

func (s *schemaSet) operation(rt *route) object {
	op := object{
		"summary":     rt.summary,
		"description": "Answered by " + answeredBy(rt.place) + ".",
		"operationId": operationID(rt),
		"responses":   s.responses(rt),
	}
	var params []object
	for _, m := range pathParam.FindAllStringSubmatch(rt.documented(), -1) {
		params = append(params, object{
			"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"},
		})
	}
	for _, p := range rt.allParams() {
		params = append(params, object{
			"name": p.name, "in": "query", "description": p.doc, "allowEmptyValue": true, "schema": object{"type": "string"},
		})
	}
	if rt.place == placeLog {
		params = append(params, object{
			"name": api.HeaderRequestID, "in": "header", "schema": object{"type": "string"},
			"description": "An id that makes the write safe to repeat: the request_id of an answer in doubt, or one of the client's own.",
		})
	}
	if params != nil {
		op["parameters"] = params
	}
	if body := s.requestBody(rt); body != nil {
		op["requestBody"] = body
	}
	return op
}

func operationID(rt *route) string {
	words := strings.FieldsFunc(rt.documented(), func(r rune) bool { return strings.ContainsRune("/{}.-", r) })
	return strings.ToLower(rt.method) + "_" + strings.Join(words, "_")
}

func (s *schemaSet) requestBody(rt *route) object {
	raw := object{"application/octet-stream": object{}}
	switch {
	case rt.in != nil:
		return object{"content": object{"application/json": object{"schema": s.of(reflect.TypeOf(rt.in))}}}
	case rt.method == http.MethodPut && (strings.HasPrefix(rt.path, kvPrefix) || strings.HasPrefix(rt.path, "/v1/settings/")):
		return object{"content": raw}
	case rt.method == http.MethodPut && rt.path == "/v1/snapshot":
		return object{"content": object{"application/gzip": object{}}, "required": true}
	}
	return nil
}

func (s *schemaSet) responses(rt *route) object {
	ok := object{"description": "Done."}
	if rt.out != nil {
		ok["content"] = object{"application/json": object{"schema": s.of(reflect.TypeOf(rt.out))}}
	}
	return object{
		"200": ok,
		"default": object{
			"description": "Not done, or in doubt: see code.",
			"content":     object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}},
		},
	}
}

// of returns the schema of a type; a named struct is defined once and referred to.
func (s *schemaSet) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.structOf(t)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Interface:
		return object{}
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	}
	return object{"type": "string"}
}

func (s *schemaSet) structOf(t reflect.Type) object {
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if _, ok := s.defs[t.Name()]; ok {
		return ref
	}
	properties := object{}
	s.defs[t.Name()] = object{"type": "object", "properties": properties}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "-" && name != "" {
			properties[name] = s.of(f.Type)
		}
	}
	return ref
}
