package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Component is a part of a program that runs as long as the daemon does.
type Component struct {
	// Name is shown in logs, errors and at /readyz.
	Name string
	// Run does the work and blocks. It returns soon after its context ends, and
	// only when all that it started has ended. To return before that, even
	// without an error, ends the daemon.
	Run func(ctx context.Context) error
	// Drain, optional, is called while Run still works: take no new work and
	// wait for what is under way, at the latest until the context ends. The
	// context of Run ends when Drain has returned.
	Drain func(ctx context.Context) error
	// Ready, optional, is closed when the component works; the next one is
	// started then. Nil: ready at once.
	Ready <-chan struct{}
}

// ErrEnded is wrapped by the error of a component that returned without an error
// and without having been told to stop.
var ErrEnded = errors.New("ended by itself")

// errStop is the cause of a stop that was asked for.
var errStop = errors.New("told to stop")

// Run runs the components as the package doc says, and returns when all that it
// started has ended, with the error that was the first cause to stop and those
// that came up while stopping, joined; nil after a signal or the end of ctx.
// Only a component that does not return when its context is cancelled is given
// up, [stopGrace] after ShutdownTimeout, and named in the error. A second signal
// ends the process with code 1. Call Run once.
func (d *Daemon) Run(ctx context.Context, components ...Component) error {
	signals := d.signals
	if signals == nil {
		signals = make(chan os.Signal, 2)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		defer signal.Stop(signals)
	}
	// Never touched, and so never backed by memory.
	floor := make([]byte, max(0, d.cfg.HeapFloor))
	defer runtime.KeepAlive(floor)
	if d.cfg.GCPercent > 0 && os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(d.cfg.GCPercent))
	}
	if !d.cfg.KeepMemory {
		defer d.releaseMemory(int64(len(floor)))()
	}
	for _, c := range components {
		d.SetReady(c.Name, ErrStarting)
	}
	// Before any listener: nothing that is too old is kept by a program that serves.
	if err := d.access.Open(); err != nil {
		return err
	}
	d.output.tellCrash(d.log)
	admin, err := d.adminComponent(ctx)
	if err != nil {
		return errors.Join(err, d.access.Close())
	}
	access := Component{Name: "access log", Run: d.access.Run}
	// Components are stopped one by one, so the end of ctx must not reach them
	// by itself.
	s := &supervisor{daemon: d, base: context.WithoutCancel(ctx), ended: make(chan *part, 2+len(components))}
	cause := s.start(ctx, signals, append([]Component{access, admin}, components...))
	if cause == nil {
		close(d.started)
		d.log.Info("running", "admin", d.AdminAddr().String())
		cause = s.wait(ctx, signals)
	}
	if errors.Is(cause, errStop) {
		d.log.Info("stopping", "cause", cause)
		cause = nil
	} else {
		d.log.Error("stopping", "cause", cause)
	}
	defer s.watchSecond(signals)()
	return errors.Join(cause, s.stop())
}
