package daemon

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// crashName is the file in the access log's directory that takes the text of a panic.
const crashName = "crash"

// output is where the log goes, without addresses.
type output struct {
	redactor *accesslog.Redactor

	mu    sync.Mutex
	w     io.WriteCloser // guarded by mu; redacts
	crash string         // guarded by mu; what a panic of the run before has left
}

func newOutput(cfg Config) *output {
	o := &output{redactor: &accesslog.Redactor{Show: cfg.AccessLog.Show}}
	// The own address is no secret.
	if host, _, err := net.SplitHostPort(cfg.Admin.Listen); err == nil {
		if a, err := netip.ParseAddr(host); err == nil {
			a = a.Unmap().WithZone("")
			o.redactor.Show = append(slices.Clip(o.redactor.Show), accesslog.Network{Prefix: netip.PrefixFrom(a, a.BitLen())})
		}
	}
	w := cfg.Output
	if w == nil {
		w = os.Stderr
	}
	o.redirect(w)
	return o
}

func (o *output) redirect(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = o.redactor.Writer(w)
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// tellCrash logs what a panic of the run before has left.
func (o *output) tellCrash(log hclog.Logger) {
	o.mu.Lock()
	text := o.crash
	o.crash = ""
	o.mu.Unlock()
	if text != "" {
		log.Error("the run before ended in a panic", "text", text)
	}
}

// CatchOutput makes everything that this process writes to standard error pass the
// redactor, whoever writes it. The text of a panic, which no code can change while the
// process ends, is written to the file "crash" in the access log's directory instead,
// and logged at the next start. Without such a directory nothing is changed.
//
// It changes the whole process: call it once, from a program's main, before Run. The
// function that it gives undoes it; call that before the program shows an error.
func (d *Daemon) CatchOutput() (restore func(), err error) {
	dir := d.cfg.AccessLog.Dir
	if dir == "" || d.cfg.Output != nil {
		return func() {}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return d.output.catch(filepath.Join(dir, crashName))
}
