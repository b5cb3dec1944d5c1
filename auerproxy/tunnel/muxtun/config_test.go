package muxtun

import (
	"testing"
	"time"
)

// A window is no more than the round trip asks for, within its bounds.
func TestWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg       Config
		roundTrip time.Duration
		want      uint32
	}{
		{Config{}, 0, DefaultStreamWindow},
		{Config{}, 10 * time.Millisecond, DefaultStreamWindow},
		{Config{}, 20 * time.Millisecond, 2 << 20},
		{Config{}, 60 * time.Millisecond, DefaultMaxStreamWindow},
		{Config{}, time.Hour, DefaultMaxStreamWindow},
		{Config{StreamWindow: 512 << 10}, time.Second, 512 << 10},
		{Config{StreamWindow: 1}, time.Second, minStreamWindow},
		{Config{MaxStreamWindow: 2 << 20}, time.Second, 2 << 20},
		{Config{MaxStreamWindow: 1}, time.Second, DefaultStreamWindow},
	} {
		// Rounding may take a byte.
		if got := tt.cfg.withDefaults().window(tt.roundTrip); got != tt.want && got+1 != tt.want {
			t.Errorf("%+v over %s: %d bytes, want %d", tt.cfg, tt.roundTrip, got, tt.want)
		}
	}
}
