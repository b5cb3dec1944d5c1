package remote

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestAsk: what the PBX is shown, and what is kept.
func TestAsk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.a
	a.Name = " Zoë\u202e\n Ångström" + strings.Repeat("ö", 200)
	r, err := s.Ask(t.Context(), a, s.sys, Wish{Reason: "Müller: kein Ton", Minutes: 90, Service: grant.SSH, Target: "switch-1"})
	must(t, err)
	m := s.pbx.asked[0]
	p := m.Pairing
	m.Pairing = ""
	if want := (wire.Remote{
		Session: grant.SessionID(r.ID), Serial: serial, Epoch: 1, Tenant: "Acker GmbH", User: r.Name, Reason: "Müller: kein Ton", Service: grant.SSH,
		Target: "switch-1", Life: 90 * time.Minute, IssuedAt: s.now, ExpiresAt: s.now.Add(15 * time.Minute), ExpiresIn: 15 * time.Minute,
	}); m != want || p == "" {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
	if !strings.HasPrefix(r.Name, "Zoë   Ångströmö") || len(r.Name) > 256 {
		t.Errorf("the name is %q", r.Name)
	}
	if r.State != grant.Pending || r.Seconds != 5400 || !reflect.DeepEqual(s.record(r), r) || s.told != 2 {
		t.Errorf("%d times told, %+v", s.told, r)
	}
	if shown(" \n") != "?" {
		t.Errorf("no name is %q", shown(" \n"))
	}
	// Some let everybody in.
	s.pbx.state = grant.Active
	if r := s.ask(); r.State != grant.Active || !r.Until.Equal(s.now.Add(time.Hour)) {
		t.Errorf("%+v", r)
	}
}

// TestOffline: nothing waits for a PBX that is not connected, and nothing is noted.
func TestOffline(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.pbx.offline = true
	_, err := s.Ask(t.Context(), s.a, s.sys, web)
	want(t, "offline", err, CodeOffline)
	all, _, err := s.List(t.Context(), s.a.Tenant, s.sys, store.Page{})
	if must(t, err); len(all) > 0 || len(s.pbx.asked) > 0 {
		t.Errorf("%d records, asked %d times", len(all), len(s.pbx.asked))
	}
	s.pbx.offline = false
	must(t, s.look(t.Context()))
	if len(s.pbx.asked) > 0 {
		t.Error("it was asked later")
	}
	s.ask() // positive control
}

// TestNotTaken: each answer of a PBX has a code, and a final record. Where it is not known
// whether the PBX has it, the PBX is to forget it.
func TestNotTaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer error
		code   Code
		state  grant.State
		cause  grant.Cause
		ends   int
	}{
		{wire.NewProblem(wire.CodeRemoteOff, ""), CodeOff, grant.Refused, grant.CauseSwitch, 0},
		{wire.NewProblem(wire.CodeNoTarget, ""), CodeNoTarget, grant.Refused, grant.CauseAdmin, 0},
		{wire.NewProblem(wire.CodeNotPaired, ""), CodeNotPaired, grant.Refused, grant.CauseDissolved, 0},
		{wire.NewProblem(wire.CodeTooMany, ""), CodeQuota, grant.Refused, grant.CauseAdmin, 0},
		{wire.NewProblem(wire.CodeInternal, ""), CodeOffline, grant.Expired, grant.CauseUnreached, 1},
		{errors.New("the connection is lost"), CodeOffline, grant.Expired, grant.CauseUnreached, 1},
	} {
		s := newSite(t)
		s.pbx.refuses = tt.answer
		r, err := s.Ask(t.Context(), s.a, s.sys, web)
		want(t, tt.answer.Error(), err, tt.code)
		if r.State != tt.state || r.Cause != tt.cause || r.Ended == nil {
			t.Errorf("%v: %+v", tt.answer, r)
		}
		must(t, s.look(t.Context()))
		must(t, s.look(t.Context()))
		if ends := s.pbx.ended(); len(ends) != tt.ends || s.record(r).Ending != "" {
			t.Errorf("%v: the PBX was told %+v", tt.answer, ends)
		}
	}
}

// TestQuotas: with one more it is refused, and the PBX does not hear of it.
func TestQuotas(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*Config){
		"per system": func(c *Config) { c.PerSystem = 2 }, "per user": func(c *Config) { c.PerUser = 2 },
	} {
		s := newSite(t, set)
		first := s.ask()
		s.ask()
		_, err := s.Ask(t.Context(), s.a, s.sys, web)
		want(t, name, err, CodeQuota)
		if e, _ := errors.AsType[*Error](err); e.RetryAfter <= 0 || len(s.pbx.asked) != 2 {
			t.Errorf("%s: %+v, asked %d times", name, e, len(s.pbx.asked))
		}
		must(t, s.End(t.Context(), s.a, s.sys, first.ID))
		s.ask() // positive control
	}
	s := newSite(t, func(c *Config) { c.PerHour = 2 })
	for range 2 {
		must(t, s.End(t.Context(), s.a, s.sys, s.ask().ID))
	}
	_, err := s.Ask(t.Context(), s.a, s.sys, web)
	want(t, "per hour", err, CodeQuota)
	_, err = s.Ask(t.Context(), s.b, s.sysB, web)
	want(t, "another system", err, "")
	s.now = s.now.Add(time.Hour)
	s.ask()
}

// TestEndIsTold: a PBX that does not hear of an end is told again until it does, and for
// two days at most.
func TestEndIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.active()
	s.pbx.deaf = true
	must(t, s.End(t.Context(), s.a2, s.sys, r.ID))
	got := s.record(r)
	if got.State != grant.Ended || got.Cause != grant.CauseCCC || got.Confirmed || got.Ending != grant.CauseCCC {
		t.Fatalf("%+v", got)
	}
	must(t, s.End(t.Context(), s.a, s.sys, r.ID)) // again, which changes nothing
	must(t, s.look(t.Context()))
	s.pbx.deaf, s.pbx.offline = false, true
	must(t, s.look(t.Context()))
	if again := s.record(r); !reflect.DeepEqual(again, got) {
		t.Errorf("%+v", again)
	}
	s.pbx.offline = false
	must(t, s.look(t.Context()))
	must(t, s.look(t.Context()))
	if ends := s.pbx.ended(); len(ends) != 1 || ends[0].Cause != grant.CauseCCC || s.record(r).Ending != "" {
		t.Errorf("told %+v", ends)
	}
	lost := s.active()
	s.pbx.deaf = true
	must(t, s.End(t.Context(), s.a, s.sys, lost.ID))
	s.now = s.now.Add(tellFor)
	must(t, s.look(t.Context()))
	if s.record(lost).Ending == "" {
		t.Error("given up too early")
	}
	s.now = s.now.Add(time.Second)
	must(t, s.look(t.Context()))
	if s.record(lost).Ending != "" {
		t.Error("not given up")
	}
}

// TestEndOvertakes: an end that comes to the PBX before the request does not leave the
// request there.
func TestEndOvertakes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.pbx.hook = func() {
		must(t, s.End(t.Context(), s.a, s.sys, store.RemoteID(s.pbx.asked[0].Session)))
		s.pbx.ended() // of which the PBX knew nothing yet
	}
	r := s.ask()
	if r.State != grant.Ended {
		t.Fatalf("%+v", r)
	}
	must(t, s.look(t.Context()))
	if ends := s.pbx.ended(); len(ends) != 1 || s.record(r).Ending != "" {
		t.Errorf("told %+v", ends)
	}
	// And one that the PBX lets in after it was over here.
	s.tell(s.report(r, grant.Active))
	must(t, s.look(t.Context()))
	if ends := s.pbx.ended(); len(ends) != 1 || s.record(r).State != grant.Ended {
		t.Errorf("told %+v", ends)
	}
}

// TestRun looks at once, again every now and then, and removes what is old.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.cfg.now = func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
		r := s.ask()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(18 * time.Minute)
		synctest.Wait()
		if got := s.record(r); got.State != grant.Expired || got.Cause != grant.CauseNoConsent {
			t.Errorf("%+v", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		s.swept = time.Time{}
		s.cfg.now = func() time.Time { return s.start.Add(s.cfg.RecordsKeep) }
		must(t, s.sweep(t.Context()))
		s.record(r)
		s.swept = time.Time{}
		s.cfg.now = func() time.Time { return s.start.Add(s.cfg.RecordsKeep + time.Hour) }
		must(t, s.sweep(t.Context()))
		if _, err := s.Show(t.Context(), s.a.Tenant, s.sys, r.ID); CodeOf(err) != CodeNotFound {
			t.Errorf("it is still there: %v", err)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	hosts := []string{"ccc.example.com", "ccc.fontevo.test"}
	good := DefaultConfig()
	for _, url := range []string{"", "https://ara.example.net", "https://ara.example.net:8443/", "https://ara.comtrexx.test"} {
		good.ARAURL = url
		must(t, good.Validate(hosts...))
	}
	must(t, Config{MaxMinutes: 30}.Validate())
	for _, tt := range []struct {
		key    string
		change func(*Config)
	}{
		{"ara_url", func(c *Config) { c.ARAURL = "https://ara.example.com" }},
		{"ara_url", func(c *Config) { c.ARAURL = "https://a.b.fontevo.test:8443" }},
		{"ara_url", func(c *Config) { c.ARAURL = "http://ara.example.net" }},
		{"ara_url", func(c *Config) { c.ARAURL = "https://Ara.example.net" }},
		{"ara_url", func(c *Config) { c.ARAURL = "https://ara.example.net/begin" }},
		{"ara_url", func(c *Config) { c.ARAURL = "https://me@ara.example.net" }},
		{"max_minutes", func(c *Config) { c.MaxMinutes = 1441 }},
		{"max_minutes", func(c *Config) { c.MaxMinutes, c.DefaultMinutes = -1, 1 }},
		{"default_minutes", func(c *Config) { c.MaxMinutes, c.DefaultMinutes = 30, 31 }},
		{"wait", func(c *Config) { c.Wait = 2 * time.Hour }},
		{"per_system", func(c *Config) { c.PerSystem = -1 }},
		{"per_user", func(c *Config) { c.PerUser = -1 }},
		{"per_hour", func(c *Config) { c.PerHour = -1 }},
		{"call_timeout", func(c *Config) { c.CallTimeout = time.Millisecond }},
		{"records_keep", func(c *Config) { c.RecordsKeep = time.Hour }},
	} {
		c := DefaultConfig()
		tt.change(&c)
		if e, ok := errors.AsType[*configs.KeyError](c.Validate(hosts...)); !ok || e.Key != tt.key {
			t.Errorf("%s: %v", tt.key, c.Validate(hosts...))
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a broker without a store")
	}
	reg := prometheus.NewRegistry()
	s := newSite(t, func(c *Config) { c.Metrics = reg })
	s.active()
	if all, err := reg.Gather(); err != nil || len(all) != 3 {
		t.Errorf("%d metrics, %v", len(all), err)
	}
}
