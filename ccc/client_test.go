package main

import (
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	t.Parallel()
	var got []string
	err := readEvents(strings.NewReader(": hello\n\nevent: a\ndata: {\"x\": 1}\n\nevent:b\ndata:2\n\nid: 7\ndata: 3\n\nevent: cut\ndata: 4"),
		func(event string, data []byte) bool {
			got = append(got, event+"="+string(data))
			return true
		})
	if err != nil || strings.Join(got, " ") != `a={"x": 1} b=2` {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("event: a\ndata: 1\n\n")
	f.Add(":\n\nevent\ndata\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		_ = readEvents(strings.NewReader(text), func(event string, data []byte) bool {
			if event == "" || len(event)+len(data) > len(text) || strings.ContainsAny(event, "\n") {
				t.Errorf("event %q with %d bytes of %d", event, len(data), len(text))
			}
			n++
			return n < 3
		})
		if n > 3 {
			t.Errorf("%d events after the end", n)
		}
	})
}
