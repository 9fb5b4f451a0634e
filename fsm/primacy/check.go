package primacy

// Check refuses an operation that no state would accept, for what it is itself.
func Check(op Op) error {
	switch op := op.(type) {
	case FoundOp:
		return checkFound(op)
	case ReportOp:
		if op.Report.ServerID == "" || op.Report.Memory == "" {
			return refuse("a report names its server and the copy of the data")
		}
	case PromoteOp:
		if op.ServerID == "" {
			return refuse("no server is named to be promoted")
		}
	case ReadyOp:
		return checkReady(op)
	case LostOp:
		if op.ServerID == "" || op.Memory == "" {
			return refuse("a loss names the server and the copy of the data")
		}
	case NextOp:
		return checkRule(op.Next)
	case FenceOp, ConfirmOp, ShrinkOp, AckedOp, HandoverOp, PauseOp:
	default:
		return refuse("no operation of this kind is known: %T", op)
	}
	return nil
}

func checkFound(op FoundOp) error {
	switch {
	case op.ServerID == "" || op.Memory == "":
		return refuse("the first primary needs a server and a name for its copy of the data")
	case op.Secret == "":
		return refuse("the replication role needs a password")
	case op.How != FoundInit && op.How != FoundAdopt:
		return refuse("the first primary can't get its data by %q", string(op.How))
	}
	return nil
}

func checkReady(op ReadyOp) error {
	if op.SystemID == "" || op.Major <= 0 || op.Timeline == 0 {
		return refuse("a primary that is ready tells its system identifier, version and timeline")
	}
	before := uint64(0)
	for _, b := range op.Unready {
		if b.Epoch <= before || b.Epoch >= op.Epoch || b.Parent >= b.Epoch || b.Timeline == 0 {
			return refuse("the branch of epoch %d is out of order", b.Epoch)
		}
		before = b.Epoch
	}
	return nil
}

func checkRule(rule Sync) error {
	if len(rule.Members) == 0 {
		return nil // withdraws
	}
	members := sortedMembers(rule.Members)
	for i, m := range members {
		switch {
		case m.ServerID == "" || m.Memory == "":
			return refuse("a member names its server and the copy of the data")
		case m.Lost:
			return refuse("server %s can't become a member with a lost copy of the data", m.ServerID)
		case i > 0 && members[i-1].ServerID == m.ServerID:
			return refuse("server %s is named twice among the members", m.ServerID)
		}
	}
	if rule.Acks < 0 || rule.Acks >= len(rule.Members) || rule.Async && rule.Acks != 0 {
		return refuse("%d acknowledgements can't be asked for among %d members (asynchronous: %t)",
			rule.Acks, len(rule.Members), rule.Async)
	}
	return nil
}
