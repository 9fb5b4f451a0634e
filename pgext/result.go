package pgext

import (
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// result is a statement's answer. Without columns it is only a tag.
type result struct {
	columns []pgproto3.FieldDescription
	rows    [][][]byte
	tag     string // "" = SELECT and the number of rows
}

func newResult(columns ...pgproto3.FieldDescription) *result { return &result{columns: columns} }

func textColumn(name string) pgproto3.FieldDescription { return column(name, pgtype.TextOID, -1) }

func intColumn(name string) pgproto3.FieldDescription { return column(name, pgtype.Int8OID, 8) }

func boolColumn(name string) pgproto3.FieldDescription { return column(name, pgtype.BoolOID, 1) }

func timeColumn(name string) pgproto3.FieldDescription { return column(name, pgtype.TimestamptzOID, 8) }

func column(name string, oid uint32, size int16) pgproto3.FieldDescription {
	return pgproto3.FieldDescription{Name: []byte(name), DataTypeOID: oid, DataTypeSize: size, TypeModifier: -1}
}

// add appends a row in PostgreSQL's text format. nil and the zero time are null.
func (r *result) add(values ...any) *result {
	row := make([][]byte, len(values))
	for i, v := range values {
		row[i] = format(v)
	}
	r.rows = append(r.rows, row)
	return r
}

func format(v any) []byte {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return []byte(v)
	case bool:
		if v {
			return []byte("t")
		}
		return []byte("f")
	case int:
		return strconv.AppendInt(nil, int64(v), 10)
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case uint64:
		return strconv.AppendUint(nil, v, 10)
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UTC().AppendFormat(nil, "2006-01-02 15:04:05.999999+00")
	}
	return fmt.Append(nil, v)
}

func (r *result) commandTag() string {
	if r.tag != "" {
		return r.tag
	}
	return "SELECT " + strconv.Itoa(len(r.rows))
}
