package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// LogConfig says who reads the audit log over the network, and how much of it.
// Everybody may follow its tree, which tells nothing of the entries. Zero values mean
// the documented defaults.
type LogConfig struct {
	// Readers are the services that may read all entries, by name. A device reads
	// those about itself; nobody else reads any. Default: none.
	Readers []string `yaml:"readers"`
	// PerMinute is how many requests for the log one address (IPv4) or /64 (IPv6)
	// may make. Negative: no limit. Default: 600.
	PerMinute int `yaml:"per_minute"`
	// MaxEntries is how many entries one answer has at most. Default: 100.
	MaxEntries int `yaml:"max_entries"`
	// CheckpointEvery is how often at most the network makes us sign a new
	// checkpoint, which costs a write to the store. New entries show that much
	// later. Default: 1s.
	CheckpointEvery time.Duration `yaml:"checkpoint_every"`
}

func (c LogConfig) withDefaults() LogConfig {
	d := DefaultConfig().Log
	if c.PerMinute == 0 {
		c.PerMinute = d.PerMinute
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = d.MaxEntries
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = d.CheckpointEvery
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c LogConfig) Validate() error {
	c = c.withDefaults()
	const most = 1000 // an answer stays below what audit.Client reads
	var all []error
	if c.MaxEntries < 1 || c.MaxEntries > most {
		all = append(all, &configs.KeyError{Key: "max_entries", Problem: fmt.Sprintf("is not between 1 and %d", most)})
	}
	if c.CheckpointEvery < 0 {
		all = append(all, &configs.KeyError{Key: "checkpoint_every", Problem: "is below zero"})
	}
	for i, name := range c.Readers {
		if err := identity.Service(identity.DefaultTrustDomain, name).Validate(); err != nil {
			all = append(all, &configs.KeyError{
				Key: fmt.Sprintf("readers[%d]", i), Problem: "is not the name of a service", Hint: "as in ccc", Cause: err,
			})
		}
	}
	return errors.Join(all...)
}

// logView is the log as one listener shows it.
type logView struct {
	*Server
	admin bool // everything, and at once
}

func (v logView) routes() map[string]handler {
	return map[string]handler{
		"GET " + audit.CheckpointPath:         v.checkpoint,
		"GET " + audit.ConsistencyPath:        v.consistency,
		"GET " + audit.TilePath + "{tile...}": v.tile,
		"GET " + audit.EntriesPath:            v.entries,
	}
}

// head gives a checkpoint, of now if that is due.
func (v logView) head(r *http.Request) (audit.Checkpoint, error) {
	if v.admin || v.signing.Allow() {
		return v.auth.Log().Sign(r.Context())
	}
	return v.auth.Log().Last(r.Context())
}

// admit bounds what one address may ask for.
func (v logView) admit(w http.ResponseWriter, r *http.Request) error {
	if v.admin || allow(v.logLimit, r) {
		return nil
	}
	w.Header().Set("Retry-After", "60")
	return fmt.Errorf("%w for the log from this address", enrol.ErrRateLimit)
}

func (v logView) checkpoint(w http.ResponseWriter, r *http.Request) error {
	if err := v.admit(w, r); err != nil {
		return err
	}
	c, err := v.head(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(c.Note)) // the client is gone, and there is nobody to tell
	return nil
}

func (v logView) consistency(w http.ResponseWriter, r *http.Request) error {
	if err := v.admit(w, r); err != nil {
		return err
	}
	values := r.URL.Query()
	c := audit.Consistency{}
	var err error
	if c.From, err = number(values, "from"); err != nil {
		return err
	}
	if c.To, err = number(values, "to"); err != nil {
		return err
	}
	if c.Proof, err = v.auth.Log().Consistency(r.Context(), c.From, c.To); err != nil {
		return logError(err)
	}
	return answer(w, http.StatusOK, c)
}

func (v logView) tile(w http.ResponseWriter, r *http.Request) error {
	if err := v.admit(w, r); err != nil {
		return err
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", audit.TileHeight, r.PathValue("tile")))
	if err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	data, err := v.auth.Log().Tile(r.Context(), t)
	if err != nil {
		return logError(err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // a tile never changes
	_, _ = w.Write(data)                                                   // as above
	return nil
}

func (v logView) entries(w http.ResponseWriter, r *http.Request) error {
	if err := v.admit(w, r); err != nil {
		return err
	}
	q, err := v.query(r)
	if err != nil {
		return err
	}
	if !v.admin {
		if q.Identity, err = v.visible(r, q.Identity); err != nil {
			return err
		}
	}
	if _, err := v.head(r); err != nil {
		return err
	}
	page, err := v.auth.Log().Find(r.Context(), q)
	if err != nil {
		return err
	}
	if len(page.Entries) == 0 && q.Certificate != "" && q.Identity != "" {
		// "Not in the log" is an alarm, and must not be said of what is only hidden.
		hidden, err := v.auth.Log().Find(r.Context(), audit.Query{Certificate: q.Certificate, Limit: 1})
		if err != nil {
			return err
		}
		if len(hidden.Entries) > 0 {
			return fmt.Errorf("%w: the certificate is not one of %s", enrol.ErrForbidden, q.Identity)
		}
	}
	return answer(w, http.StatusOK, page)
}

func (v logView) query(r *http.Request) (q audit.Query, err error) {
	values := r.URL.Query()
	if text := values.Get("identity"); text != "" {
		id, err := v.id(text)
		if err != nil {
			return q, err
		}
		q.Identity = id.Path()
	}
	if text := values.Get("serial"); text != "" {
		serial, err := identity.ParseSerial(text)
		if err != nil {
			return q, fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
		}
		q.Identity = identity.Device(v.auth.TrustDomain(), serial).Path()
	}
	q.Certificate = values.Get("certificate")
	if values.Has("after") {
		after, err := number(values, "after")
		if err != nil {
			return q, err
		}
		q.After = uint64(after)
	}
	q.Limit = v.cfg.Log.MaxEntries
	if values.Has("limit") {
		limit, err := number(values, "limit")
		if err != nil {
			return q, err
		}
		q.Limit = int(min(max(1, limit), int64(q.Limit)))
	}
	return q, nil
}

// visible gives the identity whose entries the peer may read when it asks for those
// of want; empty means all.
func (v logView) visible(r *http.Request, want string) (string, error) {
	id, _, err := peer(r)
	if err != nil {
		return "", err
	}
	if v.auth.Feed().List().Blocked(id) {
		return "", fmt.Errorf("%w: %s", enrol.ErrBlocked, id)
	}
	switch {
	case id.Kind == identity.KindService && slices.Contains(v.cfg.Log.Readers, id.Name):
		return want, nil
	case id.Kind == identity.KindDevice && (want == "" || want == id.Path()):
		return id.Path(), nil
	}
	return "", fmt.Errorf("%w: %s may not read these entries of the log", enrol.ErrForbidden, id)
}

func number(values url.Values, name string) (int64, error) {
	n, err := strconv.ParseUint(values.Get(name), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", enrol.ErrBadRequest, name, err)
	}
	return int64(n), nil
}

func logError(err error) error {
	if errors.Is(err, audit.ErrRange) {
		return fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	return err
}
