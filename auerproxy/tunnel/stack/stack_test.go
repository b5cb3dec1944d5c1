package stack_test

import (
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
)

// BenchmarkGoroutine is a goroutine that calls as deep as a write to a tunnel does.
func BenchmarkGoroutine(b *testing.B) {
	for name, start := range map[string]func(){"doubling": func() {}, "grown": stack.Grow} {
		b.Run(name, func(b *testing.B) {
			var wg sync.WaitGroup
			for b.Loop() {
				wg.Go(func() {
					start()
					deep(24)
				})
				wg.Wait()
			}
		})
	}
}

// deep uses some 200 bytes for each call.
//
//go:noinline
func deep(n int) (sum byte) {
	var frame [160]byte
	frame[n] = byte(n)
	if n > 0 {
		sum = deep(n - 1)
	}
	return sum + frame[n/2]
}
