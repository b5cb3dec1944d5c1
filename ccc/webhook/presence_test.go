package webhook

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pair makes a paired system.
func (p *place) pair(serial identity.Serial) {
	p.t.Helper()
	system := store.System{ID: store.NewID[store.SystemID](), Tenant: p.tenant, Serial: serial, Name: "Office", State: store.StatePaired, StateSince: time.Now(), Created: time.Now(), Epoch: 1}
	p.update(func(tx *store.Tx) error {
		return errors.Join(tx.CreateSystem(system), tx.CreatePairing(store.Pairing{
			ID: store.NewID[store.PairingID](), System: system.ID, Tenant: p.tenant, Serial: system.Serial, Epoch: 1,
			UserSealed: []byte("u"), PasswordSealed: []byte("p"), Offer: store.NewID[store.OfferID](), Paired: time.Now(),
		}))
	})
}

func TestPresence(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	url, got := receiver(t, ok)
	p.hook(url)
	p.pair("0123456789")
	p.run()
	changes := make(chan fleet.Change)
	done := make(chan error, 1)
	go func() { done <- p.s.Presence(context.Background(), changes) }()
	changes <- fleet.Change{Serial: "0123456789", Moved: true, Status: fleet.Status{}}
	changes <- fleet.Change{Serial: "9999999999", Moved: true, Status: fleet.Status{Online: true}} // nobody's
	changes <- fleet.Change{Serial: "0123456789", Status: fleet.Status{Online: true}}              // only by another way
	r := <-got
	if !strings.Contains(r.body, `"type":"system.offline"`) || !strings.Contains(r.body, `"serial":"0123456789"`) || !strings.Contains(r.body, `"reason":"unknown"`) {
		t.Errorf("got %s", r.body)
	}
	close(changes)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(got) != 0 {
		t.Errorf("it also tells %s", (<-got).body)
	}
}

// outage has the database take no deliveries until it is over.
func (p *place) outage() (over func()) {
	p.t.Helper()
	do := func(statement string) {
		p.t.Helper()
		db, err := sql.Open("sqlite", "file:"+p.path+"?_pragma=busy_timeout(5000)")
		p.must(err)
		_, err = db.ExecContext(context.Background(), statement)
		p.must(errors.Join(err, db.Close()))
	}
	do("CREATE TRIGGER outage BEFORE INSERT ON webhook_deliveries BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
	return func() { do("DROP TRIGGER outage") }
}

// told gives the events that wait for a webhook, with the serials.
func (p *place) told(w store.Webhook) (all []string) {
	p.t.Helper()
	p.must(p.cfg.Store.View(context.Background(), func(tx *store.Tx) error {
		list, _, err := tx.Deliveries(p.tenant, w.ID, "", store.Page{Limit: store.MaxPage})
		for _, d := range list {
			_, serial, _ := strings.Cut(d.Body, `"serial":"`)
			all = append(all, fmt.Sprintf("%s %.10s", d.Topic, serial))
		}
		return err
	}))
	return all
}

// TestComingsOutlastAnOutage: what the database does not take is told once it does, the
// newest of each PBX, also where the end comes in between.
func TestComingsOutlastAnOutage(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]bool{"while it runs": false, "at the end": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPlace(t)
				w, _ := p.hook("https://example.com/hook")
				p.pair("0123456789")
				p.pair("0123456788")
				over := p.outage()
				changes := make(chan fleet.Change)
				done := make(chan error, 1)
				go func() { done <- p.s.Presence(context.Background(), changes) }()
				changes <- fleet.Change{Serial: "0123456789", Moved: true}
				changes <- fleet.Change{Serial: "0123456788", Moved: true}
				if !stop {
					time.Sleep(10 * time.Minute)
					if all := p.told(w); len(all) != 0 {
						t.Fatalf("there is no outage: %v", all)
					}
					changes <- fleet.Change{Serial: "0123456788", Moved: true, Status: fleet.Status{Online: true}}
					over()
					time.Sleep(againMost + gather)
					if all := p.told(w); len(all) != 2 {
						t.Errorf("told %v", all)
					}
					close(changes)
				} else {
					time.Sleep(2 * gather) // it has failed once
					close(changes)
					time.Sleep(lastTimeout / 2)
					over()
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				all := strings.Join(p.told(w), ", ")
				want := "system.online 0123456788"
				if stop {
					want = "system.offline 0123456788"
				}
				if strings.Count(all, "system.") != 2 || !strings.Contains(all, "system.offline 0123456789") || !strings.Contains(all, want) {
					t.Errorf("told %s", all)
				}
			})
		})
	}
}

// TestComingsAreBounded: an outage without end ends Presence nevertheless, and fills no
// memory.
func TestComingsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.hook("https://example.com/hook")
		p.pair("0123456789")
		p.outage()
		changes := make(chan fleet.Change)
		done := make(chan error, 1)
		go func() { done <- p.s.Presence(context.Background(), changes) }()
		changes <- fleet.Change{Serial: "0123456789", Moved: true}
		time.Sleep(time.Hour)
		start := time.Now()
		close(changes)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < lastTimeout/2 || d > lastTimeout+writeTimeout {
			t.Errorf("it ends after %s", d)
		}
	})
	c := &comings{waiting: map[identity.Serial]coming{}}
	for i := range mostKept + 10 {
		c.keep(identity.Serial(fmt.Sprintf("%010d", i)), coming{})
	}
	if c.keep("0000000001", coming{at: time.Unix(1, 0)}); len(c.waiting) != mostKept || c.dropped != 10 || c.waiting["0000000001"].at.IsZero() {
		t.Errorf("%d wait, %d are dropped", len(c.waiting), c.dropped)
	}
}
