package daemon

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
)

// Reasons for not being ready that Run sets itself, one for each component.
var (
	// ErrStarting: the component has not been started, or has not said that it
	// is ready.
	ErrStarting = errors.New("starting")
	// ErrDraining: the daemon is on its way down.
	ErrDraining = errors.New("draining")
)

// SetReady says that the part called name is ready (nil) or why it is not. A
// part that has never been named counts as ready. The error's text is shown at
// /readyz. Run itself uses the names of its components; take others. Safe for
// concurrent use.
func (d *Daemon) SetReady(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.notReady, name)
		return
	}
	d.notReady[name] = err
}

// Ready gives nil when every part is ready, else the reasons, joined.
func (d *Daemon) Ready() error {
	var all []error
	for _, err := range d.reasons() {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (d *Daemon) reasons() map[string]error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.notReady)
}

// readiness is the body of /readyz.
type readiness struct {
	Ready    bool              `json:"ready"`
	NotReady map[string]string `json:"not_ready,omitempty"`
}

func (d *Daemon) serveReady(w http.ResponseWriter, _ *http.Request) {
	body := readiness{Ready: true, NotReady: map[string]string{}}
	for name, err := range d.reasons() {
		body.Ready = false
		body.NotReady[name] = err.Error()
	}
	status := http.StatusOK
	if !body.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, body)
}

// writeJSON answers with a value. The client having gone away is not an error of
// ours, and there is nobody left to tell.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
