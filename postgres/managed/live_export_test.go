package managed

// ScramVerifier and ScramMatches are tested without a server.
var (
	ScramVerifier = scramVerifier
	ScramMatches  = scramMatches
)
