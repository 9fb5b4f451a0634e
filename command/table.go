package command

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// tableWidth is what every table fits into; -format=json cuts nothing.
const tableWidth = 100

const columnGap = 2

// table is rows of text in aligned columns.
type table struct {
	header []string
	rows   [][]string
	// shrink names the columns that give way first when a line is too long, by index.
	shrink []int
	// keepEnd names the columns that lose their beginning instead of their end.
	keepEnd []int
}

func newTable(header ...string) *table { return &table{header: header} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table, each line at most tableWidth wide and without spaces at its end.
func (t *table) write(w io.Writer) error {
	widths := t.widths()
	var b strings.Builder
	for _, row := range append([][]string{t.header}, t.rows...) {
		t.writeRow(&b, row, widths)
	}
	if len(t.rows) == 0 {
		b.WriteString("(none)\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) widths() []int {
	widths := make([]int, len(t.header))
	total := columnGap * (len(widths) - 1)
	for i := range widths {
		widths[i] = runes(t.header[i])
		for _, row := range t.rows {
			widths[i] = max(widths[i], runes(clean(row[i])))
		}
		total += widths[i]
	}
	for _, columns := range [][]int{t.shrink, every(len(widths))} {
		for total > tableWidth {
			widest := widestOf(columns, widths)
			if widest < 0 {
				break
			}
			widths[widest]--
			total--
		}
	}
	return widths
}

// widestOf returns the widest of the columns that may still lose a character, -1 if none may.
func widestOf(columns, widths []int) int {
	const least = 6
	widest := -1
	for _, c := range columns {
		if widths[c] > least && (widest < 0 || widths[c] > widths[widest]) {
			widest = c
		}
	}
	return widest
}

func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func (t *table) writeRow(b *strings.Builder, row []string, widths []int) {
	var line strings.Builder
	for i, cell := range row {
		cell = cut(clean(cell), widths[i], slices.Contains(t.keepEnd, i))
		line.WriteString(cell)
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-runes(cell)+columnGap))
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// clean makes a cell printable in one line: what other nodes and clients wrote must not move the terminal's cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
			return '.'
		}
		return r
	}, s)
}

func cut(s string, width int, keepEnd bool) string {
	if runes(s) <= width {
		return s
	}
	text := []rune(s)
	if keepEnd {
		return "…" + string(text[len(text)-width+1:])
	}
	return string(text[:width-1]) + "…"
}

func runes(s string) int { return utf8.RuneCountInString(s) }
