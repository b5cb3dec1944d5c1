package pairing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// client is a person at the API.
type client struct {
	base string
	http *http.Client
	ids  []string // of systems
}

func signIn(ctx context.Context, s *servers) (*client, error) {
	password, err := configs.SecretFile(s.password).Read()
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &client{base: s.centreURL + api.Prefix, http: &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	return c, c.do(ctx, http.MethodPost, "/session", api.Credentials{Email: email, Password: string(password)}, nil)
}

func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, text)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

func (c *client) save(ctx context.Context, s identity.Serial, name string) (made api.SystemOffer, err error) {
	err = c.do(ctx, http.MethodPost, "/systems", api.NewSystem{Serial: string(s), Name: name}, &made)
	return made, err
}

// fill saves systems whose PBXs never connect.
func (c *client) fill(ctx context.Context, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	c.ids = make([]string, n)
	for i := range n {
		g.Go(func() error {
			made, err := c.save(ctx, identity.Serial(fmt.Sprintf("%010d", 900_000_001+i)), fmt.Sprintf("Praxis %05d", i))
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
		if err := c.do(ctx, http.MethodGet, path, nil, nil); err != nil {
			return all, list, err
		}
		everything.Add(time.Since(due))
		if i%3 == 0 {
			lists.Add(time.Since(due))
		}
	}
}
