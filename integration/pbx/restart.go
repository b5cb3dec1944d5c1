package pbx

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// lifetime is what begins anew with each start.
type lifetime struct {
	away     atomic.Bool   // it restarts, and answers nothing
	restarts chan struct{} // asks for a restart; holds one

	mu        sync.Mutex // guards what follows
	leaving   bool       // a restart was asked for
	since     time.Time
	bootID    string
	running   state.Image       // the firmware
	effective settings.Settings // those of the start
}

// restartGrace is how long who has asked for a restart has to hear that it comes.
const restartGrace = 200 * time.Millisecond

// errRestart ends one life.
var errRestart = errors.New("the PBX restarts")

// Refusals of maintenance.
var (
	errBusy   = problem(http.StatusConflict, "busy", "Firmware is being installed, or the system is about to restart.")
	errFaulty = problem(http.StatusConflict, "refused", "The system refuses.")
)

// startUp is a start: what is to be run is looked at, and the tunnel gets a new boot id.
func (p *PBX) startUp() error {
	id := tunnel.NewID()
	if len(p.cfg.Agent.Relays) > 0 {
		if err := p.newAgent(); err != nil {
			return err
		}
		id = p.Agent().BootID()
	}
	sum := sha256.Sum256(id)
	s := p.store.View()
	l := &p.life
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.restarts: // whatever asked for it has got it
	default:
	}
	l.leaving, l.since, l.bootID = false, time.Now(), hex.EncodeToString(sum[:8])
	l.running, l.effective = s.Firmware.Running(p.cfg.Firmware), s.Settings
	p.upkeep.over(nil)
	return nil
}

func (l *lifetime) started() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since
}

func (l *lifetime) boot() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bootID
}

func (l *lifetime) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving
}

// firmwareVersion is that of what runs.
func (p *PBX) firmwareVersion() string {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	return p.life.running.Version
}

// restartNeeded tells whether settings wait for a restart.
func (p *PBX) restartNeeded() bool {
	p.life.mu.Lock()
	was := p.life.effective
	p.life.mu.Unlock()
	return settings.RestartNeeded(settings.Diff(&was, &p.store.View().Settings))
}

// leave has the PBX restart soon.
func (p *PBX) leave() {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	p.life.leaving = true
	select {
	case p.life.restarts <- struct{}{}:
	default: // it does already
	}
}

// lives runs one life after another until ctx ends.
func (p *PBX) lives(ctx context.Context) error {
	for {
		if err := p.live(ctx); !errors.Is(err, errRestart) {
			return err
		}
		p.life.away.Store(true)
		p.sessions.clear()
		p.remote.EndAll(grant.CauseRestart)
		p.log.Info("restarting")
		if p.cfg.Fault == FaultReturn {
			<-ctx.Done()
			return nil
		}
		if !pause(ctx, p.cfg.Limits.Restart) {
			return nil
		}
		err := p.update(func(s *state.State) error {
			if !s.Boot(time.Now()) {
				return errUnchanged
			}
			return nil
		})
		if err != nil && !errors.Is(err, errUnchanged) {
			return err
		}
		if err := p.startUp(); err != nil {
			return err
		}
		p.life.away.Store(false)
	}
}

// pause waits; it tells whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// maintain installs firmware until ctx ends. It returns errRestart when the PBX is to
// restart.
func (p *PBX) maintain(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.upkeep.install:
			if p.install(ctx) {
				p.leave()
			}
		case <-p.life.restarts:
			if !pause(ctx, restartGrace) {
				return nil
			}
			return errRestart
		}
	}
}

// restart has the PBX restart for somebody.
func (p *PBX) restart(r *http.Request, l login) error {
	switch {
	case p.cfg.Fault == FaultRefuse:
		return errFaulty
	case p.life.isLeaving() || p.upkeep.isBusy():
		return errBusy
	}
	err := p.update(func(s *state.State) error {
		s.Note(p.change(r, l, state.DoneRestart))
		return nil
	})
	if err == nil {
		p.leave()
	}
	return err
}

// change is who does something, and when.
func (p *PBX) change(r *http.Request, l login, done state.Done) state.Change {
	return state.Change{At: time.Now().UTC(), By: l.Name, Cloud: p.byCloud(r, l), Done: done}
}

// apiRestart answers before it happens. Who wants to know when it is over waits for
// another boot.
func (p *PBX) apiRestart(w http.ResponseWriter, r *http.Request, l login) error {
	boot := p.life.boot()
	if err := p.restart(r, l); err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, map[string]string{"restart": rand.Text(), "boot": boot})
	return nil
}
