package pairing

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// client is a person at the API who has many systems.
type client struct {
	*cloud.Client
	ids []string // of systems
}

// fill saves systems whose PBXs never connect.
func (c *client) fill(ctx context.Context, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	c.ids = make([]string, n)
	for i := range n {
		g.Go(func() error {
			made, err := c.Save(ctx, identity.Serial(fmt.Sprintf("%010d", 900_000_001+i)), fmt.Sprintf("Praxis %05d", i))
			c.ids[i] = made.System.ID
			return err
		})
	}
	return g.Wait()
}

// peopleEvery is the time between two requests of people: four people who click twice
// and a half in a second.
const peopleEvery = 100 * time.Millisecond

// people make requests at fixed times until done is closed or so much time has passed:
// a list, a system, who they are. Latencies are from when a request was due.
func (c *client) people(ctx context.Context, atMost time.Duration, done <-chan struct{}) (all, list load.Latency, err error) {
	everything, lists := load.NewHistogram(), load.NewHistogram()
	end := time.After(atMost)
	due := time.Now()
	for i := 0; ; i++ {
		due = due.Add(peopleEvery)
		select {
		case <-done:
			return everything.Summary(), lists.Summary(), nil
		case <-end:
			return everything.Summary(), lists.Summary(), nil
		case <-ctx.Done():
			return all, list, context.Cause(ctx)
		case <-time.After(time.Until(due)):
		}
		path := "/session"
		switch i % 3 {
		case 0:
			path = "/systems?limit=100&q=praxis&sort=-created_at"
		case 1:
			if len(c.ids) > 0 {
				path = "/systems/" + c.ids[i%len(c.ids)]
			}
		}
		if err := c.Do(ctx, http.MethodGet, path, nil, nil); err != nil {
			return all, list, err
		}
		everything.Add(time.Since(due))
		if i%3 == 0 {
			lists.Add(time.Since(due))
		}
	}
}
