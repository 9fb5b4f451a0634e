package controller

// What the tests in package controller_test look at.
var (
	Plan        = plan
	RejoinOf    = rejoin
	DecodeLocal = decodeLocal
	EpochOf     = epochOf
	PrimaryConf = (*Inputs).primaryConf
)
