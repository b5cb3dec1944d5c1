package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Files of a program's folder.
const (
	logFile = "log"
	pidFile = "pid"
)

// process is a unit that is a process of one of the programs.
type process struct {
	name  string // of the program
	dir   string // its folder
	cmd   *exec.Cmd
	ended chan struct{}
	exit  error // written before ended is closed
}

// startProcess starts a program. It appends what the program writes to its log,
// and keeps its pid in a file while it runs.
func startProcess(bin, dir, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	// Its life is not that of a context: it ends by stop or kill.
	p := &process{name: name, dir: dir, cmd: exec.Command(filepath.Join(bin, name), args...), ended: make(chan struct{})} //nolint:gosec,noctx // see above
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = environment(os.Environ())
	p.cmd.SysProcAttr = detached()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	pid := filepath.Join(dir, pidFile)
	if err := os.WriteFile(pid, []byte(strconv.Itoa(p.cmd.Process.Pid)+"\n"), 0o644); err != nil {
		return nil, errors.Join(err, p.cmd.Process.Kill(), p.cmd.Wait())
	}
	go func() {
		defer close(p.ended)
		p.exit = p.cmd.Wait()
		_ = os.Remove(pid) // somebody else may have
	}()
	return p, nil
}

// prefixes of variables that the programs read.
var prefixes = []string{"PKI_", "AUERPROXY_", "AUER_AGENT_", "CCC_", "ARA_"}

// environment leaves out what would change the programs' configuration.
func environment(all []string) (out []string) {
	for _, kv := range all {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(kv, p) }) {
			out = append(out, kv)
		}
	}
	return out
}

func (p *process) stop(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil // by itself, which was reported then
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return p.err()
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not stop in time and was killed\n%s", p.name, p.lastWords())
	}
}

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

func (p *process) done() <-chan struct{} { return p.ended }

func (p *process) err() error {
	if p.exit == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", p.name, p.exit, p.lastWords())
}

// lastWords is the end of the log.
func (p *process) lastWords() string {
	const most = 2 << 10
	f, err := os.Open(filepath.Join(p.dir, logFile))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text))
}

// runProgram runs a program to its end.
func runProgram(ctx context.Context, bin, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	var failed bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &failed
	cmd.Env = environment(os.Environ())
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, bytes.TrimSpace(failed.Bytes()))
	}
	return nil
}
