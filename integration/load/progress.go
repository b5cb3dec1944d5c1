package load

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// How often progress is shown: on a terminal in place, else a line at a time.
const (
	progressTerminal = 200 * time.Millisecond
	progressPlain    = 5 * time.Second
)

// Progress shows people what goes on.
type Progress struct {
	w        io.Writer
	terminal bool
}

// NewProgress shows progress on w: as one line that changes if w is a terminal,
// else as a line every 5 s.
func NewProgress(w io.Writer) *Progress {
	f, ok := w.(*os.File)
	return &Progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))} //nolint:gosec // a file descriptor
}

// While shows line while f runs, and once more when it has ended.
func (p *Progress) While(ctx context.Context, line func() string, f func(context.Context) error) error {
	every, end := progressPlain, "\n"
	if p.terminal {
		// Back to the start of the line, and clear it to its end.
		every, end = progressTerminal, "\x1b[K\r"
	}
	over := make(chan struct{})
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.print(line() + end)
			case <-over:
				p.print(line() + "\n")
				return
			}
		}
	}()
	err := f(ctx)
	close(over)
	<-shown
	return err
}

// Say prints one line.
func (p *Progress) Say(format string, args ...any) { p.print(fmt.Sprintf(format, args...) + "\n") }

func (p *Progress) print(s string) {
	_, _ = io.WriteString(p.w, s) // progress that nobody can see is no error
}
