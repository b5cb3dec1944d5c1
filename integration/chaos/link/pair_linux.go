package link

import (
	"context"
	"errors"
	"testing"
)

// Pair makes a link that runs until the test ends, or skips the test where this
// machine has none. What the test starts in the namespaces it ends itself, by
// t.Cleanup after the call of Pair at the latest.
func Pair(t testing.TB, cfg Config) *Link {
	t.Helper()
	l, err := New(cfg)
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("link: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // t.Context ends before cleanups
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("link: %v", err)
		}
	})
	return l
}
