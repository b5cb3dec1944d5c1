package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// process is another process of this program: the relay's, an attacker's, or that of
// the bystanders. Its
// methods are called from one goroutine.
type process struct {
	args []string // the command and its flags, without --listen

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	ready
}

// startTimeout bounds the start of a process.
const startTimeout = 30 * time.Second

// start starts the process and waits for its first line. A relay serves then: at a
// free address at first, and at the same one after that.
func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := slices.Clone(p.args)
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
		return fmt.Errorf("start %s: %w", p.args[0], err)
	}
	p.stdin, p.stdout = stdin, bufio.NewReader(stdout)
	line := make(chan error, 1)
	go func() {
		line <- p.read(&p.ready)
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
		return fmt.Errorf("%s does not start: %w", p.args[0], err)
	}
	return nil
}

// read reads the next line that the process prints.
func (p *process) read(v any) error {
	text, err := p.stdout.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// say writes a line to the process.
func (p *process) say(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// yield has a process take only the processor time that nobody else wants
// (SCHED_IDLE), as one that in truth has a processor of its own; or no longer. It
// needs chrt(1).
func yield(ctx context.Context, pid int, on bool) error {
	policy := "--other"
	if on {
		policy = "--idle"
	}
	cmd := exec.CommandContext(ctx, "chrt", "--all-tasks", policy, "--pid", "0", strconv.Itoa(pid)) //nolint:gosec // no input of others
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("priority of process %d: %w: %s", pid, err, bytes.TrimSpace(out))
	}
	return nil
}

// finish asks the process to end, and reads its last line.
func (p *process) finish(v any) error {
	err := p.stdin.Close()
	return errors.Join(err, p.read(v), p.cmd.Wait())
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

// state measures what an attack could use up, without what the collector has not
// come to yet.
func (p *process) state(ctx context.Context) (load.RelayState, error) {
	if err := p.collect(ctx); err != nil {
		return load.RelayState{}, err
	}
	m, err := p.metrics(ctx)
	if err != nil {
		return load.RelayState{}, err
	}
	return load.RelayState{
		Goroutines: m.gauge("go_goroutines"), Files: m.gauge("process_open_fds"), Heap: m.gauge("go_memstats_heap_alloc_bytes"),
		Dropped: m.drops,
	}, nil
}

// metrics are some of what a process's admin listener tells.
type metrics struct {
	gauges map[string]float64 // those without labels, by name
	drops  map[string]int64   // auerproxy_drops_total by reason
}

// gauge gives a gauge; 0 where there is none of the name.
func (m metrics) gauge(name string) int64 { return int64(m.gauges[name]) }

// metrics reads the process's metrics.
func (p *process) metrics(ctx context.Context) (metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+"/metrics", http.NoBody)
	if err != nil {
		return metrics{}, err
	}
	var text bytes.Buffer
	if err := fetch(req, &text); err != nil {
		return metrics{}, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		return metrics{}, err
	}
	m := metrics{gauges: map[string]float64{}, drops: map[string]int64{}}
	for name, f := range families {
		if list := f.GetMetric(); len(list) == 1 && len(list[0].GetLabel()) == 0 && list[0].GetGauge() != nil {
			m.gauges[name] = list[0].GetGauge().GetValue()
		}
	}
	for _, d := range families["auerproxy_drops_total"].GetMetric() {
		m.drops[d.GetLabel()[0].GetValue()] = int64(d.GetCounter().GetValue())
	}
	return m, nil
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
