//go:build !unix

package tunneltest

import "time"

// cpuTime is not known.
func cpuTime() time.Duration { return 0 }
