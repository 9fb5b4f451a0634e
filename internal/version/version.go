// Package version says which pgraft this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the release that this source is, or becomes.
const Version = "0.1.0"

// Commit is what the build was made from; the linker sets it, else the Go toolchain's own stamp is used.
var Commit string

// Info is what `pgraft version` prints.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Get returns the version of the running binary.
func Get() Info {
	return Info{
		Version:  Version,
		Commit:   commit(),
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// String is the version in one line.
func (i Info) String() string {
	return fmt.Sprintf("pgraft %s (%s, %s, %s)", i.Version, i.Commit, i.Go, i.Platform)
}

func commit() string {
	if Commit != "" {
		return Commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "unknown"
}
