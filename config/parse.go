package config

import (
	"fmt"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
)

// Most brackets and operators of one file. The HCL parser and evaluator call themselves for each level of either and
// have no bound of their own: 200 KiB of minus signs exhaust the stack, which no recover can catch. A count of all of
// them can't be led astray by brackets that don't match, as a count of levels could.
const (
	maxBrackets  = 5000
	maxOperators = 1000
)

// parseFile parses by the name's ending, after a look at what the parser could not survive.
func parseFile(name string, src []byte) (hcl.Body, hcl.Diagnostics) {
	refuse := func(summary, detail string) (hcl.Body, hcl.Diagnostics) {
		r := hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
		return nil, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &r}}
	}
	if len(src) > maxFileSize {
		return refuse("File too long", fmt.Sprintf("It has %d bytes; split it, each may have %d", len(src), maxFileSize))
	}
	var file *hcl.File
	var diags hcl.Diagnostics
	switch filepath.Ext(name) {
	case ".hcl":
		if tooComplex(src) {
			return refuse("File too complex", fmt.Sprintf("It has more than %d brackets or %d operators", maxBrackets, maxOperators))
		}
		file, diags = hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	case ".json":
		if tooComplexJSON(src) {
			return refuse("File too complex", fmt.Sprintf("It has more than %d brackets", maxBrackets))
		}
		file, diags = json.Parse(src, name)
	default:
		return refuse("Unknown kind of file", "The name of a config file must end in .hcl or .json")
	}
	if file == nil || diags.HasErrors() {
		return nil, diags
	}
	return file.Body, diags
}

// tooComplex counts tokens, since comments are full of dashes.
func tooComplex(src []byte) bool {
	tokens, _ := hclsyntax.LexConfig(src, "", hcl.InitialPos) // the parser reports what is wrong with them
	brackets, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			brackets++
		case hclsyntax.TokenMinus, hclsyntax.TokenBang, hclsyntax.TokenPlus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
			hclsyntax.TokenQuestion, hclsyntax.TokenColon, hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenAnd, hclsyntax.TokenOr,
			hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq:
			operators++
		}
	}
	return brackets > maxBrackets || operators > maxOperators
}

func tooComplexJSON(src []byte) bool {
	brackets := 0
	for _, b := range src {
		if b == '{' || b == '[' {
			brackets++
		}
	}
	return brackets > maxBrackets
}
