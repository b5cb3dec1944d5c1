package flow

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// What the gateway and its clients agree about.
const (
	// PathConnect is where flows are opened, on the origin of a session.
	PathConnect = "/.ara/connect"
	// PathRedeem takes the grant.
	PathRedeem = "/.ara/redeem"
	// CookieSession and CookieBrowser are the gateway's cookies.
	CookieSession = "__Host-ara"
	CookieBrowser = CookieSession + "-browser"
	// RefusedHeader says in a word why the gateway refuses, e.g. "streams".
	RefusedHeader = "Ara-Refused"
)

// answerTime bounds one request that is not a flow.
const answerTime = 30 * time.Second

// RefusedError is an answer of the gateway that is no success.
type RefusedError struct {
	// Status is that of HTTP, Reason the gateway's word for it, maybe empty.
	Status int
	Reason string
}

// hints say what can be done about the words.
var hints = map[string]string{
	"grant":       "a ticket is good once and for a minute; get another one with: ccc remote open",
	"browser":     "the ticket is not for this gateway; get another one with: ccc remote open",
	"label":       "the remote access is over or the gateway has started anew; get another ticket with: ccc remote open",
	"ended":       "the remote access is over; ask anew with: ccc remote open",
	"pending":     "the PBX's administrator has not consented yet",
	"pbx":         "the PBX refuses: the access may just have ended, or its target is not on the list any more",
	"service":     "the remote access is to another kind of service; ask for tcp or ssh",
	"recorded":    "the PBX's administrator wants terminals recorded, which a flow would evade; use the terminal in the browser",
	"streams":     "the session has too many open flows at once; end one",
	"sessions":    "too many sessions are open at the gateway; end one",
	"unreachable": "the PBX, or the target behind it, cannot be reached now; try again later",
}

// Error says it in a line.
func (e *RefusedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the gateway answers with %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the gateway refuses: %s (status %d)", e.Reason, e.Status)
}

// Hint says what can be done; empty: nothing is known.
func (e *RefusedError) Hint() string { return hints[e.Reason] }

func refused(resp *http.Response) error {
	return &RefusedError{Status: resp.StatusCode, Reason: resp.Header.Get(RefusedHeader)}
}

// Client is how a gateway is reached. The zero value is useful.
type Client struct {
	// TLS says how the gateway is known. nil: by the system's roots.
	TLS *tls.Config
	// Address, "host:port", is connected to instead of what the gateway's name resolves
	// to. Empty: that.
	Address string
}

// http makes requests with HTTP/1.1, which alone can become a WebSocket, and follows no
// redirect.
func (c Client) http() *http.Client {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
	}
	cfg.NextProtos = []string{"http/1.1"}
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg, TLSHandshakeTimeout: answerTime, ResponseHeaderTimeout: answerTime,
		IdleConnTimeout: answerTime,
	}
	if c.Address != "" {
		tr.Proxy = nil
		tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, c.Address)
		}
	}
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Begun is a session that waits at the gateway for its grant, which has to be made for
// Label and Hash.
type Begun struct {
	Origin string
	Label  string
	// Hash is what the grant is bound to, base64url, and Browser the secret behind it.
	Hash, Browser string
}

// Begin begins at the gateway, whose address is "https://domain[:port]", as a browser
// would: it gets a label, and a secret for which the control centre makes the grant.
func (c Client) Begin(ctx context.Context, gateway string, id grant.SessionID) (b Begun, err error) {
	base, err := url.Parse(gateway)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return b, fmt.Errorf("%q is not the https address of a gateway", gateway)
	}
	h := c.http()
	defer h.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, to, err := redirected(ctx, h, "https://"+base.Host+"/begin?session="+url.QueryEscape(string(id)))
	if err != nil {
		return b, err
	}
	label, ok := strings.CutSuffix(to.Host, "."+base.Host)
	if !ok || to.Scheme != "https" || strings.Contains(label, ".") {
		return b, errors.New("the gateway leads to a host that is not below its own")
	}
	b.Origin, b.Label = "https://"+to.Host, label
	cookies, to, err := redirected(ctx, h, to.String())
	if err != nil {
		return b, err
	}
	for _, k := range cookies {
		if k.Name == CookieBrowser {
			b.Browser = k.Value
		}
	}
	hash := sha256.Sum256([]byte(b.Browser))
	b.Hash = base64.RawURLEncoding.EncodeToString(hash[:])
	if !cookieValue(b.Browser) || to.Query().Get("label") != b.Label || to.Query().Get("browser") != b.Hash {
		return b, errors.New("the gateway begins in a way that is not known here; is it of the same version?")
	}
	return b, nil
}

// redirected wants a redirect, and gives the cookies with it and where it leads.
func redirected(ctx context.Context, h *http.Client, at string) ([]*http.Cookie, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		return nil, nil, refused(resp)
	}
	to, err := resp.Location()
	return resp.Cookies(), to, err
}

// Session is a remote access that was opened at the gateway. Close it in the end.
type Session struct {
	ticket Ticket
	http   *http.Client
	cookie string
}

// Redeem opens the remote access of a ticket, which is good no more then. Errors: a
// [RefusedError], or those of the connection.
func (c Client) Redeem(ctx context.Context, t Ticket) (*Session, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	s := &Session{ticket: t, http: c.http()}
	body := url.Values{"grant": {t.Grant}}.Encode()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Origin+PathRedeem, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Cookie", CookieBrowser+"="+t.Browser)
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		s.Close()
		return nil, refused(resp)
	}
	for _, k := range resp.Cookies() {
		if k.Name == CookieSession && k.Value != "" {
			s.cookie = k.Value
		}
	}
	if s.cookie == "" {
		s.Close()
		return nil, errors.New("the gateway gives no session")
	}
	return s, nil
}

// Open opens a flow to the session's target. ctx bounds the opening only.
func (s *Session) Open(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, s.ticket.Origin+PathConnect, &websocket.DialOptions{ //nolint:bodyclose // it does that itself
		HTTPClient: s.http, HTTPHeader: http.Header{"Cookie": {CookieSession + "=" + s.cookie}}, Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, refused(resp)
		}
		return nil, err
	}
	return New(ws, 1<<20), nil
}

// Close gives the connections back. The remote access goes on until its PBX or the
// control centre ends it, or nothing moves for long.
func (s *Session) Close() { s.http.CloseIdleConnections() }
