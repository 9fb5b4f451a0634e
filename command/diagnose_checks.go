package command

import "github.com/pgraft/pgraft/api"

// saidAlready names the checks of the agent that are about what diagnose finds in the status by itself.
var saidAlready = map[string]func(*api.Status) []problem{
	"pending_restart": checkPendingRestart, "sync_members": checkSync, "versions": checkVersions,
	"replication": checkNodes, "clock_skew": checkNodes,
}

// checkChecks reports what the agent's own checks found, where nothing else has said it.
func checkChecks(s *api.Status) []problem {
	var out []problem
	for _, severity := range []api.CheckStatus{api.CheckCritical, api.CheckWarning, api.CheckUnknown} {
		for _, c := range s.Checks {
			if c.Status != severity || said(s, c) {
				continue
			}
			out = append(out, problem{what: string(c.Status) + ", " + c.Name + ": " + c.Message + ".", next: c.Next})
		}
	}
	return out
}

// said tells that another problem has the check in it. A clock that is wrong is said, whoever else is silent.
func said(s *api.Status, c api.Check) bool {
	other, ok := saidAlready[c.Name]
	if !ok || c.Name == "clock_skew" && c.Status != api.CheckUnknown || c.Name == "replication" && c.Status == api.CheckCritical {
		return false
	}
	return len(other(s)) > 0
}
