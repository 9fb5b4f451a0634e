package controller

import "context"

// What the tests in package controller_test look at.
var (
	Plan        = plan
	RejoinOf    = rejoin
	DecodeLocal = decodeLocal
	EpochOf     = epochOf
	PrimaryConf = (*Inputs).primaryConf
	FollowConf  = (*Inputs).followConf
)

// Clean writes checkpoints as before a stop.
func Clean(ctx context.Context, pg Postgres) error {
	c := &Controller{cfg: Config{Postgres: pg}, memo: memo{took: map[string]string{}}}
	return c.clean(ctx)
}
