package quictun

import "testing"

// The sum of what all streams may hold fits into the connection's window, where
// none is configured.
func TestWindows(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg        Config
		wantStream uint64 // MaxStreamWindow
	}{
		"default":      {Config{}, DefaultMaxStreamWindow},
		"few come in":  {Config{MaxIncomingStreams: 1}, DefaultMaxStreamWindow},
		"none come in": {Config{MaxIncomingStreams: -1}, DefaultMaxStreamWindow},
		"large":        {Config{StreamWindow: 16 << 20}, 16 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tt.cfg.withDefaults()
			if c.MaxStreamWindow != tt.wantStream || c.StreamWindow > c.MaxStreamWindow {
				t.Errorf("windows %d and %d of a stream, want at most %d", c.StreamWindow, c.MaxStreamWindow, tt.wantStream)
			}
			streams := uint64(max(c.MaxIncomingStreams, 0) + c.MaxOpenStreams)
			if sum := streams * c.MaxStreamWindow; c.ConnectionWindow < sum {
				t.Errorf("connection window %d, and %d streams hold %d", c.ConnectionWindow, streams, sum)
			}
		})
	}
}
