package fsm

import (
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
)

func validatePrimacy(op primacy.Op) *api.Error {
	if err := primacy.Check(op); err != nil {
		return badRequest("%s", err.Error())
	}
	switch op := op.(type) {
	case primacy.FoundOp:
		return names(op.ServerID, op.Memory, op.Secret)
	case primacy.FenceOp:
		return firstError(names(op.Target), text("reason", op.Reason, MaxPrimacyReason))
	case primacy.ReportOp:
		return names(op.Report.ServerID, op.Report.Memory)
	case primacy.PromoteOp:
		return names(op.ServerID)
	case primacy.ReadyOp:
		return validateReady(op)
	case primacy.LostOp:
		return names(op.ServerID, op.Memory)
	case primacy.NextOp:
		return validateMembers(op.Next.Members)
	case primacy.HandoverOp:
		return names(op.Target)
	default:
		return nil
	}
}

func validateReady(op primacy.ReadyOp) *api.Error {
	if n := len(op.Unready); n > primacy.MaxLineage {
		return badRequest("%d branches at once: at most %d are allowed", n, primacy.MaxLineage)
	}
	for _, b := range op.Unready {
		if err := names(b.ServerID); err != nil {
			return err
		}
	}
	return names(op.ServerID, op.SystemID)
}

func validateMembers(members []primacy.Member) *api.Error {
	if n := len(members); n > MaxPrimacyMembers {
		return badRequest("%d members: at most %d are allowed", n, MaxPrimacyMembers)
	}
	for _, m := range members {
		if err := names(m.ServerID, m.Memory); err != nil {
			return err
		}
	}
	return nil
}

// names checks server ids and their like.
func names(values ...string) *api.Error {
	for _, value := range values {
		if !isText(value) {
			return badRequest("a name or id of a server: must be valid UTF-8 without NUL")
		}
		if err := size("a name or id of a server", len(value), MaxNameSize); err != nil {
			return err
		}
	}
	return nil
}
