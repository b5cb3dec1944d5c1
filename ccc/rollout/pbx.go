package rollout

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// PBX is one PBX as it is configured. Errors are [*pbxweb.Error] where it refuses,
// [pbxweb.ErrAnswer] where it answers nonsense, and otherwise of the connection: these may
// be tried again, also where something is changed, as that is for one version or one boot.
type PBX interface {
	// Settings gives all settings, and their version.
	Settings(ctx context.Context) (version string, values Values, err error)
	// Schema says which settings there are.
	Schema(ctx context.Context) ([]Key, error)
	// Try says what a change would do, and does nothing.
	Try(ctx context.Context, version string, values Values) (restart bool, err error)
	// Change changes settings that have a version, and gives the new one.
	Change(ctx context.Context, version string, values Values) (string, error)
	// Restart makes it end and begin again.
	Restart(ctx context.Context) error
	// System says what runs there.
	System(ctx context.Context) (System, error)
	// Firmware says what goes on about its firmware.
	Firmware(ctx context.Context) (Firmware, error)
	// Install has it take an image: it is whole there, and verified, when there is no error.
	// Installation and restart follow. It may be long until image.Begin is called.
	Install(ctx context.Context, image Image, downgrade bool) error
	// Rollback makes it restart with the firmware of before.
	Rollback(ctx context.Context) error
}

// Key is a setting that a PBX has.
type Key struct {
	Key           string            `json:"key"`
	Type          string            `json:"type"` // string, integer, boolean or list
	Min           *int64            `json:"min,omitempty"`
	Max           *int64            `json:"max,omitempty"` // of a text or a list: its length
	Enum          []string          `json:"enum,omitempty"`
	Pattern       string            `json:"pattern,omitempty"`
	RestartNeeded bool              `json:"restart_needed,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"` // by language: de, en, fr
}

// System is what runs at a PBX.
type System struct {
	Boot     string `json:"boot"` // another one after each restart
	Model    string `json:"model"`
	Firmware string `json:"firmware"`
	Running  int64  `json:"running_seconds"`
}

// Connector makes PBXs to talk to.
type Connector struct {
	keys    *seal.Keyring
	dial    func(context.Context, identity.Serial, string) (net.Conn, error)
	calls   *semaphore.Weighted
	timeout time.Duration
	keep    time.Duration
	// Of images, which take long.
	images       *semaphore.Weighted
	imageTimeout time.Duration

	mu       sync.Mutex                  // guards sessions
	sessions map[store.PairingID]session // logins that are used again
}

type session struct {
	*pbxweb.Session
	until time.Time
}

// NewConnector makes a connector whose calls and logins are bounded by c. Dial opens a
// call to a service of exactly that PBX: DialContext of a dial.Dialer.
func NewConnector(c Config, keys *seal.Keyring, dial func(context.Context, identity.Serial, string) (net.Conn, error)) *Connector {
	c = c.withDefaults()
	return &Connector{
		keys: keys, dial: dial, calls: semaphore.NewWeighted(int64(c.Calls)), timeout: c.CallTimeout, keep: c.Session,
		images: semaphore.NewWeighted(int64(c.Uploads)), imageTimeout: c.UploadTimeout,
		sessions: map[store.PairingID]session{},
	}
}

// Connect gives the PBX of a pairing. Nothing is sent yet.
func (c *Connector) Connect(p store.Pairing) PBX { return &remotePBX{c, p} }

type remotePBX struct {
	*Connector
	pairing store.Pairing
}

// do sends a request, with the login of a short while ago or another one.
func (p *remotePBX) do(ctx context.Context, r pbxweb.Request) (string, error) {
	if err := p.calls.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer p.calls.Release(1)
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if s := p.known(); s != nil {
		version, err := s.Do(ctx, r)
		if e, refused := errors.AsType[*pbxweb.Error](err); !refused || e.Status != http.StatusUnauthorized {
			return version, err
		}
		p.forget()
	}
	s, err := p.signIn(ctx)
	if err != nil {
		return "", err
	}
	return s.Do(ctx, r)
}

func (p *remotePBX) known() *pbxweb.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[p.pairing.ID]; time.Now().Before(s.until) {
		return s.Session
	}
	return nil
}

func (p *remotePBX) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, p.pairing.ID)
}

func (p *remotePBX) signIn(ctx context.Context) (*pbxweb.Session, error) {
	user, password, err := pairing.Login(p.keys, p.pairing)
	if err != nil {
		return nil, err
	}
	client := wire.HTTPClient(func(ctx context.Context) (net.Conn, error) {
		return p.dial(ctx, p.pairing.Serial, pbxweb.Service)
	})
	s, err := pbxweb.SignIn(ctx, client, user, password)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for id, old := range p.sessions {
		if !now.Before(old.until) {
			delete(p.sessions, id)
		}
	}
	p.sessions[p.pairing.ID] = session{s, now.Add(p.keep)}
	return s, nil
}

func (p *remotePBX) Settings(ctx context.Context) (string, Values, error) {
	var values Values
	version, err := p.do(ctx, pbxweb.Request{Method: http.MethodGet, Path: "settings", Out: &values})
	if err != nil {
		return "", nil, err
	}
	values, bad := values.Parse()
	if version == "" || bad != nil {
		return "", nil, pbxweb.ErrAnswer
	}
	return version, values, nil
}

func (p *remotePBX) Schema(ctx context.Context) ([]Key, error) {
	var all []Key
	if _, err := p.do(ctx, pbxweb.Request{Method: http.MethodGet, Path: "settings/schema", Out: &all}); err != nil {
		return nil, err
	}
	return all, checkSchema(all)
}

// checkSchema finds fault with what a PBX says of its settings, and makes its texts lines.
func checkSchema(all []Key) error {
	if len(all) > MaxKeys {
		return pbxweb.ErrAnswer
	}
	seen := map[string]bool{}
	for i := range all {
		k := &all[i]
		if !keyText.MatchString(k.Key) || seen[k.Key] || len(k.Enum) > MaxKeys || len(k.Pattern) > MaxValue {
			return pbxweb.ErrAnswer
		}
		switch k.Type {
		case "string", "integer", "boolean", "list":
		default:
			return pbxweb.ErrAnswer
		}
		seen[k.Key] = true
		labels := map[string]string{}
		for _, language := range []string{"de", "en", "fr"} {
			if text := pbxweb.Line(k.Labels[language]); text != "" {
				labels[language] = text
			}
		}
		k.Labels = labels
		for j, word := range k.Enum {
			k.Enum[j] = pbxweb.Line(word)
		}
	}
	return nil
}

func (p *remotePBX) Try(ctx context.Context, version string, values Values) (bool, error) {
	var out struct {
		RestartNeeded bool `json:"restart_needed"`
	}
	_, err := p.do(ctx, pbxweb.Request{Method: http.MethodPatch, Path: "settings?dry_run=true", IfMatch: version, Body: values, Out: &out})
	return out.RestartNeeded, err
}

func (p *remotePBX) Change(ctx context.Context, version string, values Values) (string, error) {
	now, err := p.do(ctx, pbxweb.Request{Method: http.MethodPatch, Path: "settings", IfMatch: version, Body: values})
	if err == nil && now == "" {
		err = pbxweb.ErrAnswer
	}
	return now, err
}

func (p *remotePBX) Restart(ctx context.Context) error {
	_, err := p.do(ctx, pbxweb.Request{Method: http.MethodPost, Path: "restart"})
	return err
}

func (p *remotePBX) System(ctx context.Context) (s System, err error) {
	_, err = p.do(ctx, pbxweb.Request{Method: http.MethodGet, Path: "system", Out: &s})
	if err != nil {
		return s, err
	}
	for _, text := range []string{s.Boot, s.Model, s.Firmware} {
		if len(text) > maxVersionText || pbxweb.Line(text) != text {
			return s, pbxweb.ErrAnswer
		}
	}
	return s, nil
}
