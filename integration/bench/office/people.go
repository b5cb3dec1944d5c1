package office

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
)

// The kinds of requests, in the order of the report.
const (
	kindFilter = "list, filtered and sorted"
	kindSearch = "list, searched as one types"
	kindSystem = "a system and its history"
	kindChange = "a change of a system"
	kindAround = "sites, groups, tags, tenants"
)

var kinds = []string{kindFilter, kindSearch, kindSystem, kindChange, kindAround}

// count is what everybody together did.
type count struct {
	all  atomic.Int64
	each map[string]*load.Histogram
}

func newCount() *count {
	c := &count{each: map[string]*load.Histogram{load.All: load.NewHistogram()}}
	for _, k := range kinds {
		c.each[k] = load.NewHistogram()
	}
	return c
}

func (c *count) add(kind string, d time.Duration) {
	c.all.Add(1)
	c.each[kind].Add(d)
	c.each[load.All].Add(d)
}

func (c *count) rows() []load.Row {
	var rows []load.Row
	for _, k := range append(kinds, load.All) {
		rows = append(rows, load.Row{Name: k, Latency: c.each[k].Summary()})
	}
	return rows
}

// person is at work for a customer.
type person struct {
	*cloud.Client
	of   customer
	live *cloud.Live
}

// arrive has the i-th person sign in and open his pages. The reseller's work for their
// customers in turn.
func (t *town) arrive(ctx context.Context, at string, i int) (*person, error) {
	c, err := cloud.SignIn(ctx, cloud.Access{URL: at, Email: email(i), PasswordFile: t.passwordFile()})
	if err != nil {
		return nil, err
	}
	p := &person{Client: c}
	for _, one := range t.customers {
		if one.id == t.home(i) {
			p.of = one
		}
	}
	if t.home(i) == t.reseller {
		p.of = t.customers[i/3%len(t.customers)]
		p.Client = c.In(string(p.of.id))
	}
	p.live, err = p.Follow(ctx)
	return p, err
}

func (p *person) leave() {
	if p.live != nil {
		p.live.Stop()
	}
	p.Close()
}

// work clicks until the end.
func (p *person) work(ctx context.Context, r *rand.Rand, o Options, end time.Time, c *count) error {
	for {
		pause := time.Duration(r.ExpFloat64() * float64(o.Pause))
		if time.Now().Add(pause).After(end) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := p.click(ctx, r, c); err != nil {
			return err
		}
	}
}

// click does one thing.
func (p *person) click(ctx context.Context, r *rand.Rand, c *count) error {
	get := func(kind, path string) error {
		begin := time.Now()
		if err := p.Do(ctx, http.MethodGet, path, nil, nil); err != nil {
			return err
		}
		c.add(kind, time.Since(begin))
		return nil
	}
	system := "/systems/" + string(p.of.systems[r.IntN(len(p.of.systems))])
	switch n := r.IntN(100); {
	case n < 45:
		return get(kindFilter, "/systems?"+p.filter(r).Encode())
	case n < 60:
		name := []rune(names[r.IntN(len(names))])
		for i := 1; i <= 3; i++ {
			if err := get(kindSearch, "/systems?limit=100&q="+url.QueryEscape(string(name[:i]))); err != nil {
				return err
			}
		}
		return nil
	case n < 75:
		return errors.Join(get(kindSystem, system), get(kindSystem, system+"/events"))
	case n < 90:
		begin := time.Now()
		change := map[string]any{"note": fmt.Sprintf("Visited, %d", r.IntN(1000)), "tags": []string{tags[r.IntN(len(tags))]}}
		if err := p.Do(ctx, http.MethodPatch, system, change, nil); err != nil {
			return err
		}
		c.add(kindChange, time.Since(begin))
		return nil
	default:
		return get(kindAround, []string{"/sites", "/groups", "/tags", "/tenants"}[r.IntN(4)])
	}
}

// filter is what somebody chooses from the menus: two things at most, and an order.
func (p *person) filter(r *rand.Rand) url.Values {
	q := url.Values{"limit": {"100"}}
	q.Set("sort", []string{"name", "-name", "serial", "state_since", "-created_at", "-last_seen_at"}[r.IntN(6)])
	for range r.IntN(3) {
		switch r.IntN(6) {
		case 0:
			q.Set("online", "true")
		case 1:
			q.Set("online", "false")
		case 2:
			q.Set("tag", tags[r.IntN(len(tags))])
		case 3:
			q.Set("group", string(p.of.groups[r.IntN(len(p.of.groups))]))
		case 4:
			q.Set("site", string(p.of.sites[r.IntN(len(p.of.sites))]))
		default:
			q.Set("state", "paired")
		}
	}
	return q
}
