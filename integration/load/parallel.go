package load

import (
	"runtime"

	"golang.org/x/sync/errgroup"
)

// inParallel calls f(0) to f(n-1) on all processors, and gives the first error.
func inParallel(n int, f func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	return g.Wait()
}
