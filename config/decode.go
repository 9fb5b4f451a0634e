package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/zclconf/go-cty/cty"
)

// parametersBlock is the one block whose keys are free.
const parametersBlock = "postgres.parameters"

// schema lists what may stand in a block ("" is the file itself), from the table of keys.
func (l *loader) schema(block string) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for i := range l.keys.list {
		k := &l.keys.list[i]
		if k.block() != block {
			continue
		}
		if k.Path == parametersBlock {
			s.Blocks = append(s.Blocks, hcl.BlockHeaderSchema{Type: k.name()})
		} else {
			s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: k.name()})
		}
	}
	if block == "" {
		for _, b := range Blocks() {
			s.Blocks = append(s.Blocks, hcl.BlockHeaderSchema{Type: b.Name})
		}
	}
	return s
}

// decodeBody decodes one file over what is there. A key that is set twice in one file is a mistake; in two files the
// later wins.
func (l *loader) decodeBody(body hcl.Body) {
	d := &fileDecoder{loader: l, seen: map[string]hcl.Range{}}
	d.block("", body)
}

type fileDecoder struct {
	*loader
	seen map[string]hcl.Range
}

func (d *fileDecoder) bad(r hcl.Range, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Source: fromRange(r), Path: path, Message: fmt.Sprintf(format, args...)})
}

func (d *fileDecoder) block(name string, body hcl.Body) {
	schema := d.schema(name)
	content, diags := body.Content(schema)
	d.problems = append(d.problems, withKnownNames(fromDiagnostics(diags), schema)...)
	if content == nil {
		return
	}
	for _, attr := range content.Attributes {
		path := strings.TrimPrefix(name+"."+attr.Name, ".")
		d.attribute(d.keys.byPath[path], attr)
	}
	for _, b := range content.Blocks {
		path := strings.TrimPrefix(name+"."+b.Type, ".")
		d.c.sources[path] = fromRange(b.DefRange)
		if path == "postgres" {
			d.c.Postgres.Enabled = true
		}
		if path == parametersBlock {
			d.parameters(b.Body)
			continue
		}
		d.block(path, b.Body)
	}
}

// withKnownNames adds what could stand there to complaints about unknown names that come without a proposal.
func withKnownNames(problems []Problem, schema *hcl.BodySchema) []Problem {
	var names []string
	for _, a := range schema.Attributes {
		names = append(names, a.Name)
	}
	for _, b := range schema.Blocks {
		names = append(names, b.Type)
	}
	for i, p := range problems {
		unknown := strings.HasPrefix(p.Message, "Unsupported ") || strings.HasPrefix(p.Message, "Extraneous ")
		if unknown && !strings.Contains(p.Message, "Did you mean") {
			problems[i].Message += ". Known here: " + strings.Join(names, ", ")
		}
	}
	return problems
}

// once reports whether a key is set for the first time in this file, and complains if not.
func (d *fileDecoder) once(path string, r hcl.Range) bool {
	if first, dup := d.seen[path]; dup {
		d.bad(r, path, "it is already set in line %d of this file: keep one of the two", first.Start.Line)
		return false
	}
	d.seen[path] = r
	return true
}

func (d *fileDecoder) attribute(k *Key, attr *hcl.Attribute) {
	if !d.once(k.Path, attr.NameRange) {
		return
	}
	v, problem := decodeExpr(k, attr.Expr)
	if problem != "" {
		d.bad(attr.Expr.Range(), k.Path, "%s", problem)
		d.broken[k.Path] = true
		return
	}
	if v == nil {
		return
	}
	k.set(d.c, v)
	d.c.sources[k.Path] = fromRange(attr.Expr.Range())
}

// parameters merges into what earlier files set, parameter by parameter.
func (d *fileDecoder) parameters(body hcl.Body) {
	attrs, diags := body.JustAttributes()
	d.problems = append(d.problems, fromDiagnostics(diags)...)
	merged := map[string]string{}
	for name, value := range d.c.Postgres.Parameters {
		merged[name] = value
	}
	for name, attr := range attrs {
		path := parametersBlock + "." + name
		if !d.once(path, attr.NameRange) {
			continue
		}
		v, diags := attr.Expr.Value(nil)
		var text string
		if diags.HasErrors() || !isScalar(v) || gohcl.DecodeExpression(attr.Expr, nil, &text).HasErrors() {
			d.bad(attr.Expr.Range(), path, `a PostgreSQL setting is one text: write for example %s = "200"`, name)
			continue
		}
		merged[name] = text
		d.c.sources[path] = fromRange(attr.NameRange)
	}
	d.c.Postgres.Parameters = merged
}

func isScalar(v cty.Value) bool {
	return v.IsKnown() && !v.IsNull() && v.Type().IsPrimitiveType()
}

// decodeExpr gives the value of the key's type, nil for null, or says what is wrong. HCL itself would take "7400" for a
// number and 5 for a text; here a value has the type that the reference page says, since a wrong type is most often a
// slip.
func decodeExpr(k *Key, expr hcl.Expression) (any, string) {
	value, diags := expr.Value(nil)
	if diags.HasErrors() {
		return nil, fromDiagnostics(diags)[0].Message
	}
	if value.IsNull() {
		return nil, ""
	}
	want := func() (any, string) {
		return nil, fmt.Sprintf("a %s is needed, this is %s: write for example %s = %s", k.wanted(), describe(value), k.name(), k.Example)
	}
	if !value.IsWhollyKnown() || !typeFits(k, value.Type()) {
		return want()
	}
	v, ok := decodeTyped(k, expr)
	if !ok {
		return want()
	}
	if err := k.check(v); err != nil {
		return nil, err.Error()
	}
	return v, ""
}

// wanted is Type with the bounds that a number has.
func (k *Key) wanted() string {
	if k.Type() == "number" {
		return "whole " + k.typeText()
	}
	return k.Type()
}

func describe(v cty.Value) string {
	switch {
	case v.Type().IsTupleType():
		return "a list of something else"
	case v.Type().IsObjectType():
		return "an object"
	case v.Type() == cty.String && v.IsKnown():
		return fmt.Sprintf("the string %q", v.AsString())
	case v.Type() == cty.Number && v.IsKnown():
		return "the number " + v.AsBigFloat().Text('g', 20)
	case v.Type() == cty.Bool:
		return "a bool"
	default:
		return "a " + v.Type().FriendlyName()
	}
}

func typeFits(k *Key, t cty.Type) bool {
	switch k.field(&Config{}).(type) {
	case *string, *time.Duration:
		return t == cty.String
	case *int, *uint64:
		return t == cty.Number
	case *bool:
		return t == cty.Bool
	default:
		return isStringList(t)
	}
}

func isStringList(t cty.Type) bool {
	if !t.IsTupleType() {
		return false
	}
	for _, et := range t.TupleElementTypes() {
		if et != cty.String {
			return false
		}
	}
	return true
}

func decodeTyped(k *Key, expr hcl.Expression) (any, bool) {
	switch k.field(&Config{}).(type) {
	case *int:
		return decodeInto[int](expr)
	case *uint64:
		return decodeInto[uint64](expr)
	case *bool:
		return decodeInto[bool](expr)
	case *[]string:
		return decodeInto[[]string](expr)
	case *time.Duration:
		text, _ := decodeInto[string](expr)
		d, err := time.ParseDuration(text.(string))
		return d, err == nil
	default:
		return decodeInto[string](expr)
	}
}

// decodeInto also refuses what does not fit the Go type: 1.5 and 1e30 are numbers to HCL.
func decodeInto[T any](expr hcl.Expression) (any, bool) {
	var v T
	diags := gohcl.DecodeExpression(expr, nil, &v)
	return v, !diags.HasErrors()
}
