package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Page is one file of Markdown.
type Page struct {
	Path  string // from the root of the repository
	Lines []Line
}

// Line is one line of a page, and what it is part of.
type Line struct {
	Number int
	Text   string
	Code   bool   // in a block of code, fenced or indented
	Lang   string // of a fenced block
}

// Read reads every page below root: those at its top, the packages' DESIGN.md and the documentation.
func Read(root string) ([]Page, error) {
	var pages []Page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		pages = append(pages, Page{Path: filepath.ToSlash(name), Lines: parse(string(content))})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	return pages, nil
}

// parse tells code from text. A block of four spaces is code unless it goes on with a list.
func parse(content string) []Line {
	var lines []Line
	fence, lang, inList := "", "", false
	for i, text := range strings.Split(strings.TrimSuffix(content, "\n"), "\n") {
		line := Line{Number: i + 1, Text: text}
		trimmed := strings.TrimLeft(text, " ")
		switch {
		case fence != "":
			line.Code, line.Lang = true, lang
			if strings.HasPrefix(trimmed, fence) {
				fence, line.Text = "", ""
			}
		case strings.HasPrefix(trimmed, "```"):
			fence, lang = "```", strings.TrimSpace(strings.Trim(trimmed, "`"))
			line.Code, line.Lang, line.Text = true, lang, ""
		case strings.HasPrefix(text, "    ") && !inList:
			line.Code = true
		case trimmed != "":
			inList = isListItem(trimmed) || inList && text != trimmed
		}
		lines = append(lines, line)
	}
	return lines
}

var listItem = regexp.MustCompile(`^([*-]|[0-9]+\.) `)

func isListItem(text string) bool { return listItem.MatchString(text) }

// Anchors returns the names under which the page's headings can be linked to, in the manner of GitHub: the second
// heading of the same text gets -1.
func (p *Page) Anchors() []string {
	var anchors []string
	count := map[string]int{}
	for _, line := range p.Lines {
		title := strings.TrimLeft(line.Text, "#")
		if line.Code || title == line.Text || !strings.HasPrefix(title, " ") {
			continue
		}
		anchor := slug(title)
		if n := count[anchor]; n > 0 {
			anchors = append(anchors, fmt.Sprintf("%s-%d", anchor, n))
		} else {
			anchors = append(anchors, anchor)
		}
		count[anchor]++
	}
	return anchors
}

func slug(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(title)) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// Link is a link of a page to another place of the project.
type Link struct {
	Line         int
	File, Anchor string // File from the root of the repository
}

var (
	linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan    = regexp.MustCompile("`[^`]*`")
)

// Links returns the page's links that don't lead out of the project.
func (p *Page) Links() []Link {
	var links []Link
	for _, line := range p.Lines {
		if line.Code {
			continue
		}
		for _, m := range linkPattern.FindAllStringSubmatch(codeSpan.ReplaceAllString(line.Text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			link := Link{Line: line.Number, File: p.Path, Anchor: anchor}
			if file != "" {
				link.File = filepath.ToSlash(filepath.Join(filepath.Dir(p.Path), file))
			}
			links = append(links, link)
		}
	}
	return links
}

// Code is a piece of code on a page.
type Code struct {
	Line int
	Text string
}

// Commands returns the code of a page that a shell could run: the lines of blocks, and spans between backquotes.
func (p *Page) Commands() []Code {
	var out []Code
	for _, line := range p.Lines {
		if line.Code {
			if slices.Contains([]string{"", "sh", "bash"}, line.Lang) {
				out = append(out, Code{line.Number, line.Text})
			}
			continue
		}
		for _, span := range codeSpan.FindAllString(line.Text, -1) {
			out = append(out, Code{line.Number, strings.Trim(span, "`")})
		}
	}
	return out
}

// Blocks returns the fenced blocks of a language.
func (p *Page) Blocks(lang string) []Code {
	var out []Code
	var current *Code
	for _, line := range p.Lines {
		switch {
		case !line.Code || line.Lang != lang:
			current = nil
		case current == nil:
			out = append(out, Code{Line: line.Number})
			current = &out[len(out)-1]
		default:
			current.Text += line.Text + "\n"
		}
	}
	return out
}
