package command

import (
	"flag"

	"github.com/pgraft/pgraft/api"
)

// reading is the flags that say how fresh a read must be.
type reading struct{ stale, consistent bool }

func (r *reading) flags(fs *flag.FlagSet) {
	fs.BoolVar(&r.stale, "stale", false, "let the asked agent answer from its own memory, also without a leader")
	fs.BoolVar(&r.consistent, "consistent", false, "let the leader confirm with a quorum that it still leads")
}

func (r *reading) options() (api.QueryOptions, error) {
	if r.stale && r.consistent {
		return api.QueryOptions{}, usagef("-stale and -consistent exclude each other")
	}
	return api.QueryOptions{Stale: r.stale, Consistent: r.consistent}, nil
}

// optionalUint is a number flag that knows whether it was given.
type optionalUint struct{ value *uint64 }

func (o *optionalUint) flag(fs *flag.FlagSet, name, usage string) {
	fs.Func(name, usage, func(s string) error {
		n, err := parseUint(s)
		if err != nil {
			return err
		}
		o.value = &n
		return nil
	})
}
