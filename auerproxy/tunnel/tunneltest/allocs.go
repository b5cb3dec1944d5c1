package tunneltest

import (
	"io"
	"testing"
)

// RequestAllocs counts the allocations of a request and its answer, of 200 bytes
// each, on an open stream: those of both ends and of the transport's own
// goroutines. The calling test must not be parallel, and not run under the race
// detector, which empties pools.
func RequestAllocs(t *testing.T, o Options) float64 {
	t.Helper()
	client, server := Pair(t, o)
	near, far := Streams(t, client, server)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		buf := make([]byte, requestSize)
		for {
			if _, err := io.ReadFull(far, buf); err != nil {
				return
			}
			if _, err := far.Write(buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, requestSize)
	run := func() {
		if err := ask(near, buf); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		run() // windows and pools have their size after this
	}
	n := testing.AllocsPerRun(500, run)
	_ = near.Close()
	<-answered
	_ = far.Close()
	return n
}
