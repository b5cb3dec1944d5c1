package main

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
	"time"
)

// process is the relay's process. Its methods are called from one goroutine.
type process struct {
	args []string // of the command, without --listen

	cmd   *exec.Cmd
	stdin io.Closer
	ready
}

// startTimeout bounds the start of the relay.
const startTimeout = 30 * time.Second

// start starts the process and waits until it serves: at a free address at first,
// and at the same one after that.
func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"relay"}, p.args...)
	if p.Relay != "" {
		args = append(args, "--listen", p.Relay)
	}
	// Not CommandContext: an interrupted simulation stops the relay itself.
	p.cmd = exec.Command(self, args...) //nolint:gosec,noctx // our own binary; see above
	p.cmd.Args[0] = os.Args[0]
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start the relay: %w", err)
	}
	p.stdin = stdin
	line := make(chan error, 1)
	go func() {
		text, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, &p.ready)
		}
		line <- err
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case err = <-line:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.kill()
		return fmt.Errorf("the relay does not start: %w", err)
	}
	return nil
}

// pid is the process's id.
func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process at once (SIGKILL).
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails where it has ended by itself
	_ = p.cmd.Wait()         // says that it was killed
	_ = p.stdin.Close()
}

// collect has the process give back memory that it does not use.
func (p *process) collect(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.Admin+"/collect", http.NoBody)
	if err != nil {
		return err
	}
	return fetch(req, io.Discard)
}

// download writes something of the process's admin listener, e.g. "metrics" or
// "debug/pprof/profile?seconds=5", to a file.
func (p *process) download(ctx context.Context, path, file string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+"/"+path, http.NoBody)
	if err != nil {
		return err
	}
	f, err := os.Create(file) //nolint:gosec // in the directory that the user named
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fetch(req, f)
}

func fetch(req *http.Request, w io.Writer) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
