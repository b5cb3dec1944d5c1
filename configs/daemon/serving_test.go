package daemon

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
)

// TestServing: told to end it stops the server and waits for it; drained it waits to be
// told; a fault ends it.
func TestServing(t *testing.T) {
	t.Parallel()
	fault := errors.New("fault")
	for name, tt := range map[string]struct {
		drained   bool
		serve     error // what serve returns in the end
		stop      error
		want      error
		byItself  bool // it ends without being told
		stopCalls int
	}{
		"told":                {serve: http.ErrServerClosed, stopCalls: 1},
		"told, stop fails":    {serve: http.ErrServerClosed, stop: fault, want: fault, stopCalls: 1},
		"told, serve fails":   {serve: fault, want: fault, stopCalls: 1},
		"drained, then told":  {drained: true, serve: http.ErrServerClosed, stopCalls: 1},
		"it fails by itself":  {drained: true, serve: fault, want: fault, byItself: true},
		"drained, stop fails": {drained: true, serve: http.ErrServerClosed, stop: fault, want: fault, stopCalls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ended, calls := make(chan struct{}), 0
				run := Serving(func() error { <-ended; return tt.serve }, func() error {
					if calls++; !tt.drained {
						close(ended)
					}
					return tt.stop
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- run(ctx) }()
				if tt.drained {
					close(ended)
				}
				synctest.Wait()
				if got := len(done) == 1; got != tt.byItself {
					t.Fatalf("ended by itself: %v", got)
				}
				cancel()
				if err := <-done; !errors.Is(err, tt.want) || calls != tt.stopCalls {
					t.Errorf("%v after %d calls of stop", err, calls)
				}
			})
		})
	}
}
