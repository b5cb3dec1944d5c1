package quictun

import "testing"

// The sum of what all streams may hold fits into the connection's window,
// whatever is configured.
func TestWindows(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg        Config
		wantStream uint64 // MaxStreamWindow
	}{
		"default":        {Config{}, DefaultMaxStreamWindow},
		"few come in":    {Config{MaxIncomingStreams: 1}, DefaultMaxStreamWindow},
		"none come in":   {Config{MaxIncomingStreams: -1}, DefaultMaxStreamWindow},
		"large":          {Config{StreamWindow: 16 << 20}, 16 << 20},
		"memory":         {Config{MaxIncomingStreams: 200, MaxOpenStreams: 56, SessionMemory: 64 << 20}, 256 << 10},
		"plenty":         {Config{MaxIncomingStreams: 2, MaxOpenStreams: 2, SessionMemory: 1 << 30}, DefaultMaxStreamWindow},
		"little memory":  {Config{SessionMemory: 1}, minStreamWindow},
		"memory, window": {Config{MaxIncomingStreams: 4, MaxOpenStreams: 4, ConnectionWindow: 1 << 40, SessionMemory: 1 << 20}, 128 << 10},
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
			if m := tt.cfg.SessionMemory; m > streams*minStreamWindow && c.ConnectionWindow > m {
				t.Errorf("connection window %d, more than the memory of %d", c.ConnectionWindow, m)
			}
		})
	}
}
