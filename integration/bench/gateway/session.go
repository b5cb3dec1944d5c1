package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// visitor is a browser that gets pages.
type visitor struct {
	host   string // the name of the origin
	cookie string // empty: none is needed
	dial   func(ctx context.Context) (*tls.Conn, error)
}

// dialer makes TLS connections to the contestant for HTTP/1.1.
func (w *way) dialer(name string) func(ctx context.Context) (*tls.Conn, error) {
	cfg := w.tls.Clone()
	cfg.ServerName, cfg.NextProtos = name, []string{"http/1.1"}
	return func(ctx context.Context) (*tls.Conn, error) {
		c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", w.addr)
		if err != nil {
			return nil, err
		}
		return c.(*tls.Conn), nil
	}
}

// issuer is the control centre's part.
type issuer struct {
	creds *enrol.Credentials
	run   string
	ids   *atomic.Int64
}

func newIssuer(certs string) (issuer, error) {
	creds, err := enrol.LoadCredentials(filepath.Join(certs, filepath.FromSlash(identity.Service(td, "ccc").Path())))
	return issuer{creds, strconv.FormatInt(time.Now().Unix(), 36), new(atomic.Int64)}, err
}

func (i issuer) id(kind string) string { return fmt.Sprintf("%s-%s-%d", kind, i.run, i.ids.Add(1)) }

// grant is one for a browser that has begun.
func (i issuer) grant(pbx identity.Serial, id grant.SessionID, q url.Values) (string, error) {
	var browser [sha256.Size]byte
	b, err := base64.RawURLEncoding.DecodeString(q.Get("browser"))
	if err != nil || len(b) != len(browser) {
		return "", fmt.Errorf("the gateway says that the browser is %q", q.Get("browser"))
	}
	copy(browser[:], b)
	now := time.Now().Truncate(time.Second)
	return grant.Sign(i.creds, grant.Grant{
		ID: grant.ID(i.id("g")), Audience: q.Get("label") + "." + domain, Session: id, Serial: pbx, Epoch: 1, Service: grant.Web,
		User: "Bench", Tenant: "Bench GmbH", Browser: browser, Issued: now, Expires: now.Add(grant.MaxLife),
	})
}

// letIn takes a new browser through the gateway, to the PBX of a number, until it gets a
// page. A gateway that has just started refuses grants, which could be from before.
func (r *runner) letIn(ctx context.Context, w *way, pbx int) (v visitor, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if v, err = r.tryLetIn(ctx, w, serial(pbx)); err == nil {
			return v, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return v, fmt.Errorf("a session is not let in: %w", err)
		}
	}
}

func (r *runner) tryLetIn(ctx context.Context, w *way, pbx identity.Serial) (v visitor, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return v, err
	}
	tr := &http.Transport{TLSClientConfig: w.tls.Clone(), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.addr)
	}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	step := func(method, to string, form url.Values) (*url.URL, error) {
		req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := c.Do(req)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther {
			return nil, fmt.Errorf("%s: %s", req.URL.Path, resp.Status)
		}
		return resp.Location()
	}
	_, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		return v, err
	}
	id := grant.SessionID(r.issuer.id("s"))
	to, err := step(http.MethodGet, "https://"+domain+":"+port+"/begin?session="+string(id), nil)
	if err != nil {
		return v, err
	}
	origin := *to
	centre, err := step(http.MethodGet, to.String(), nil)
	if err != nil {
		return v, err
	}
	text, err := r.issuer.grant(pbx, id, centre.Query())
	if err != nil {
		return v, err
	}
	origin.Path, origin.RawQuery = "/.ara/redeem", ""
	if to, err = step(http.MethodPost, origin.String(), url.Values{"grant": {text}}); err != nil {
		return v, err
	}
	if to, err = step(http.MethodGet, to.String(), nil); err != nil {
		return v, err
	}
	if to.Path != "/" {
		return v, fmt.Errorf("the gateway leads to %s", to.Path)
	}
	var cookies []string
	for _, k := range jar.Cookies(&origin) {
		cookies = append(cookies, k.Name+"="+k.Value)
	}
	v = visitor{host: origin.Hostname(), cookie: strings.Join(cookies, "; "), dial: w.dialer(origin.Hostname())}
	return v, nil
}

// opening is how many sessions are begun at once.
const opening = 8

// sessions begins many sessions at our gateway, keeps them all, and asks in each.
func (r *runner) sessions(ctx context.Context, w *way, _ time.Duration) (map[score.Metric]float64, error) {
	before, err := w.proxy.Usage()
	if err != nil {
		return nil, err
	}
	all := make([]*asker, r.Sessions)
	var mu sync.Mutex
	defer func() {
		for _, a := range all {
			if a != nil {
				_ = a.conn.Close()
			}
		}
	}()
	began := time.Now()
	var done atomic.Int64
	err = r.Progress.While(ctx, func() string { return fmt.Sprintf("%d of %d sessions open", done.Load(), r.Sessions) }, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(opening)
		for i := range all {
			g.Go(func() error {
				v, err := r.letIn(ctx, w, i/sessionsPerPBX)
				if err != nil {
					return err
				}
				c, err := v.dial(ctx)
				if err != nil {
					return err
				}
				a := newAsker(c, v.request(http.MethodGet, pathPage, ""))
				mu.Lock()
				all[i] = a
				mu.Unlock()
				done.Add(1)
				return a.ask()
			})
		}
		return g.Wait()
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	after, err := w.proxy.Usage()
	if err != nil {
		return nil, err
	}
	h := load.NewHistogram()
	for range 2 { // each is alive, and the second time nothing is new
		for _, a := range all {
			at := time.Now()
			if err := a.ask(); err != nil {
				return nil, err
			}
			h.Add(time.Since(at))
		}
	}
	l := h.Summary()
	return map[score.Metric]float64{
		score.Rate: float64(r.Sessions) / took.Seconds(), score.P50: us(l.P50), score.P99: us(l.P99),
		score.ProxyConn: kib(after.RSS, before.RSS) / float64(r.Sessions),
	}, nil
}
