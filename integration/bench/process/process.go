// Package process starts the programs that are compared, and reads what they cost.
//
//	p, err := process.Start(exec.Command("frps", "-c", path), "frps")
//	defer p.Stop()
//	u, err := p.Usage()
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// stopPatience is how long a process may take to end after it was asked to.
const stopPatience = 3 * time.Second

// startPatience bounds the start of a role, up to the line that it prints.
const startPatience = 20 * time.Second

// Process is a running program. Start it with [Start] or [StartRole].
type Process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer // of a role: it ends with it
	says  *tail
	done  chan struct{} // closed when it has ended
}

// Start starts a program whose output is kept for errors.
func Start(cmd *exec.Cmd, name string) (*Process, error) {
	p := &Process{name: name, cmd: cmd, says: new(tail), done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.says
	}
	cmd.Stderr = p.says
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended shows in what it says
		close(p.done)
	}()
	return p, nil
}

// StartRole starts this program as one of our own parts, and reads the line of
// JSON that it prints when it serves.
func StartRole(ctx context.Context, ready any, role string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{role}, args...)...) //nolint:gosec,noctx // our own binary; stopped by Stop
	cmd.Args[0] = os.Args[0]
	// Pipes of our own: Wait must not close the one that is being read.
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), stdin.Close())
	}
	cmd.Stdin, cmd.Stdout = in, out
	p, err := Start(cmd, role)
	err = errors.Join(err, in.Close(), out.Close())
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), stdout.Close())
	}
	p.stdin = stdin
	line := make(chan error, 1)
	go func() {
		text, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, ready)
		}
		line <- errors.Join(err, stdout.Close())
	}()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case err = <-line:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("%s does not start: %w%s", role, err, p.Said())
	}
	return p, nil
}

// Stop ends the process, and returns when it has ended.
func (p *Process) Stop() {
	if p.stdin != nil {
		_ = p.stdin.Close()
	} else {
		_ = p.cmd.Process.Signal(os.Interrupt) // fails where it has ended
	}
	t := time.NewTimer(stopPatience)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// readyEvery is how often a program is asked whether it serves.
const readyEvery = 20 * time.Millisecond

// readyPatience bounds the start of a program.
const readyPatience = time.Minute

// AwaitReady waits until a program says at its admin listener that it serves; url is that
// of its /readyz.
func (p *Process) AwaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			err = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return err
			}
		}
		select {
		case <-tick.C:
			continue
		case <-p.done:
			err = errors.New("it has ended")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s does not start: %w%s", p.name, err, p.Said())
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Said gives the last of what the process printed, for an error.
func (p *Process) Said() string {
	if s := p.says.String(); s != "" {
		return "; " + p.name + " says: " + s
	}
	return ""
}

// Usage is the process's and that of its children, as nginx's workers.
func (p *Process) Usage() (load.Usage, error) {
	sum, err := load.ReadUsage(p.cmd.Process.Pid)
	if err != nil {
		return sum, fmt.Errorf("%s: %w", p.name, err)
	}
	for _, pid := range p.children() {
		u, err := load.ReadUsage(pid)
		if err != nil {
			return sum, err
		}
		sum.RSS += u.RSS
		sum.Anon += u.Anon
		sum.CPU += u.CPU
	}
	return sum, nil
}

// children are the processes that this one started. Only nginx has any, and they
// stay.
func (p *Process) children() []int {
	if p.name != "nginx" {
		return nil
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	var list []int
	for _, c := range all {
		if st, err := c.Stat(); err == nil && st.PPID == p.cmd.Process.Pid {
			list = append(list, c.PID)
		}
	}
	return list
}

// tail keeps the end of what is written.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if cut := len(t.buf) - tailSize; cut > 0 {
		t.buf = append(t.buf[:0], t.buf[cut:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
