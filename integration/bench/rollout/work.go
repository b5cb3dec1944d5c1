package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	engine "github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
)

const (
	// pairAtOnce is how many PBXs are paired at the same time.
	pairAtOnce = 32
	// lookEvery is how often somebody looks at the progress, as a page does.
	lookEvery = 250 * time.Millisecond
	// newServer is what is to be set.
	newServer = "ntp.example.net"
)

// work is one run.
type work struct {
	Options
	*cloud.Client
	cloud  *cloud.Cloud
	fleet  *fleet.Fleet
	report *Report

	systems []string // by PBX
	path    string   // of the rollout
}

func (w *work) all(ctx context.Context) error {
	if err := w.pair(ctx); err != nil {
		return err
	}
	before, err := w.cloud.Usage()
	if err != nil {
		return err
	}
	if err := w.dryRun(ctx); err != nil {
		return err
	}
	if err := w.change(ctx); err != nil {
		return err
	}
	if err := w.revert(ctx); err != nil {
		return err
	}
	after, err := w.cloud.Usage()
	w.report.CentreMemory = after.Centre.RSS
	w.report.CentreCPU, w.report.RelayCPU = after.Centre.CPU-before.Centre.CPU, after.Relay.CPU-before.Relay.CPU
	return err
}

// pair pairs all PBXs.
func (w *work) pair(ctx context.Context) error {
	live, err := w.Follow(ctx)
	if err != nil {
		return err
	}
	defer live.Stop()
	var paired atomic.Int64
	begin := time.Now()
	line := func() string { return fmt.Sprintf("%d of %d PBXs paired", paired.Load(), w.PBXs) }
	err = w.Progress.While(ctx, line, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(pairAtOnce)
		for i, p := range w.fleet.PBXs() {
			g.Go(func() error {
				if err := w.Pair(ctx, live, p, fmt.Sprintf("Praxis %04d", i), nil); err != nil {
					return err
				}
				paired.Add(1)
				return nil
			})
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	w.report.Pairing = time.Since(begin)
	return w.find(ctx)
}

// find reads which system is which PBX's.
func (w *work) find(ctx context.Context) error {
	ids := map[string]string{}
	for next := ""; ; {
		var list api.SystemList
		if err := w.Do(ctx, http.MethodGet, "/systems?limit=100&cursor="+url.QueryEscape(next), nil, &list); err != nil {
			return err
		}
		for _, s := range list.Items {
			ids[s.Serial] = s.ID
		}
		if next = list.Next; next == "" {
			break
		}
	}
	for i := range w.PBXs {
		id, there := ids[string(serial(i))]
		if !there {
			return fmt.Errorf("the control centre does not list %s", serial(i))
		}
		w.systems = append(w.systems, id)
	}
	return nil
}

// dryRun prepares the rollout of a template.
func (w *work) dryRun(ctx context.Context) error {
	var t api.Template
	value, err := json.Marshal(newServer)
	if err != nil {
		return err
	}
	if err := w.Do(ctx, http.MethodPost, "/templates", api.NewTemplate{Name: "Time", Settings: engine.Values{"ntp_server": value}}, &t); err != nil {
		return err
	}
	begin := time.Now()
	var r api.Rollout
	err = w.Do(ctx, http.MethodPost, "/rollouts", api.NewRollout{
		Name: "Time", Kind: store.RolloutSettings, TemplateID: t.ID, SystemIDs: w.systems,
		Plan: &api.RolloutPlan{Parallel: w.Parallel, MaxFailures: max(w.Faulty-1, 0)},
	}, &r)
	if err != nil {
		return err
	}
	w.path = "/rollouts/" + url.PathEscape(r.ID)
	err = w.watch(ctx, "dry run", func(r api.Rollout) (bool, error) { return r.State == store.RolloutReady, nil })
	w.report.DryRun = time.Since(begin)
	return err
}

// watch looks at the rollout until there is nothing more to see.
func (w *work) watch(ctx context.Context, what string, see func(api.Rollout) (done bool, err error)) error {
	var progress atomic.Value
	progress.Store(what)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	return w.Progress.While(ctx, func() string { return progress.Load().(string) }, func(ctx context.Context) error { //nolint:forcetypeassert // nothing else is stored
		for {
			var r api.Rollout
			if err := w.Do(ctx, http.MethodGet, w.path, nil, &r); err != nil {
				return err
			}
			progress.Store(fmt.Sprintf("%s: %s in ring %d, %v", what, r.State, r.Ring+1, r.Rings))
			if done, err := see(r); done || err != nil {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}

func (w *work) control(ctx context.Context, a engine.Action) error {
	return w.Do(ctx, http.MethodPost, w.path+"/control", api.RolloutControl{Action: a}, nil)
}

// change starts the rollout, and lets it go on each time it halts.
func (w *work) change(ctx context.Context) error {
	if err := w.control(ctx, engine.Start); err != nil {
		return err
	}
	begin := time.Now()
	ring, since := 0, begin
	err := w.watch(ctx, "rollout", func(r api.Rollout) (bool, error) {
		over := r.State == store.RolloutDone
		for len(w.report.Rings) < len(r.Rings) {
			w.report.Rings = append(w.report.Rings, Ring{Systems: r.Rings[len(w.report.Rings)].Systems})
		}
		for ; ring < r.Ring || over && ring == r.Ring; ring++ {
			w.report.Rings[ring].Elapsed = time.Since(since)
			since = time.Now()
		}
		switch {
		case over:
			return true, nil
		case r.State == store.RolloutHalted:
			w.report.Halts++
			w.report.Rings[r.Ring].Halted = time.Since(since)
			return false, w.control(ctx, engine.Resume)
		case r.State != store.RolloutRunning:
			return false, fmt.Errorf("the rollout is %s: %s", r.State, r.Reason)
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	w.report.Elapsed = time.Since(begin)
	if err := w.count(ctx); err != nil {
		return err
	}
	return w.look(func(i int) string {
		if w.faulty(i) {
			return settings.Default().NTPServer
		}
		return newServer
	})
}

// count counts how the PBXs ended.
func (w *work) count(ctx context.Context) error {
	w.report.Results = map[string]int{}
	for next := ""; ; {
		var list api.RolloutDeviceList
		if err := w.Do(ctx, http.MethodGet, w.path+"/systems?limit=100&cursor="+url.QueryEscape(next), nil, &list); err != nil {
			return err
		}
		for _, d := range list.Items {
			w.report.Results[strings.TrimSpace(string(d.State)+" "+d.Code)]++
		}
		if next = list.Next; next == "" {
			return nil
		}
	}
}

// revert sets all back.
func (w *work) revert(ctx context.Context) error {
	begin := time.Now()
	if err := w.control(ctx, engine.Rollback); err != nil {
		return err
	}
	err := w.watch(ctx, "setting back", func(r api.Rollout) (bool, error) { return r.State == store.RolloutReverted, nil })
	if err != nil {
		return err
	}
	w.report.Revert = time.Since(begin)
	return w.look(func(int) string { return settings.Default().NTPServer })
}

// look compares what the PBXs themselves have with what they are to have.
func (w *work) look(want func(i int) string) error {
	wrong := 0
	for i, p := range w.fleet.PBXs() {
		if p.State().Settings.NTPServer != want(i) {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d PBXs do not have what they are to have", wrong, w.PBXs)
	}
	return nil
}
