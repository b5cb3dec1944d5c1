package facts

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

// errNotYet: Run has not measured yet.
var errNotYet = errors.New("not measured yet")

//go:embed page.html
var pageText string

// page shows view.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"bytes": showBytes, "uptime": showUptime, "percent": showPercent, "clock": showClock,
}).Parse(pageText))

type view struct {
	Facts
	Nonce string // of the style and the script
}

// ServeHTTP answers the paths of the package doc.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this server only shows facts", http.StatusMethodNotAllowed)
		return
	}
	serve := map[string]http.HandlerFunc{"/": s.page, "/facts.json": s.json, "/events": s.events}[r.URL.Path]
	if serve == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	serve(w, r)
}

func callOf(r *http.Request) Call {
	return Call{
		Caller:    r.Header.Get(agent.HeaderCaller),
		RequestID: r.Header.Get(agent.HeaderRequestID),
		Purpose:   r.Header.Get(agent.HeaderPurpose),
	}
}

// facts gives the latest measurement with the call, or answers 503.
func (s *Server) facts(w http.ResponseWriter, r *http.Request) (Facts, bool) {
	f, _, err := s.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return f, false
	}
	f.Call = callOf(r)
	return f, true
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	f, ok := s.facts(w, r)
	if !ok {
		return
	}
	v := view{f, rand.Text()}
	var body bytes.Buffer
	if err := page.Execute(&body, v); err != nil {
		s.cfg.Logger.Error("page", "error", err)
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; connect-src 'self'; style-src 'nonce-%[1]s'; script-src 'nonce-%[1]s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", v.Nonce))
	_, _ = body.WriteTo(w) // the client may be gone; nobody else to tell
}

func (s *Server) json(w http.ResponseWriter, r *http.Request) {
	f, ok := s.facts(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(f) // the client may be gone; nobody else to tell
}

// eventTimeout bounds the writing of one event.
const eventTimeout = 10 * time.Second

// shown is an event: the facts as the page shows them, by the id of the element.
type shown map[string]string

func show(f Facts) shown {
	return shown{
		"time": showClock(f.Time), "uptime": showUptime(f.Host.Uptime),
		"cpu": showPercent(f.CPU.Percent), "load": fmt.Sprintf("%.2f", f.CPU.Load),
		"memory": showPercent(f.Memory.Percent), "memory-used": showBytes(f.Memory.Used),
		"disk": showPercent(f.Disk.Percent), "disk-used": showBytes(f.Disk.Used),
	}
}

// events sends each measurement until the client goes away. A failed measurement
// is left out.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		f, changed, err := s.read()
		if err == nil {
			f.Call = callOf(r)
			data, err := json.Marshal(struct {
				Facts
				Shown shown `json:"shown"`
			}{f, show(f)})
			if err != nil {
				s.cfg.Logger.Error("event", "error", err)
				return
			}
			if control.SetWriteDeadline(time.Now().Add(eventTimeout)) != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil || control.Flush() != nil {
				return // the client has gone
			}
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func showPercent(p float64) string { return fmt.Sprintf("%.0f %%", p) }

func showClock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// showBytes uses binary units, like the configuration.
func showBytes(n uint64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), -1
	for v >= step && unit < 3 {
		v /= step
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[unit])
}

func showUptime(seconds uint64) string {
	days, hours, minutes := seconds/86400, seconds/3600%24, seconds/60%60
	if days > 0 {
		return fmt.Sprintf("%d d %d h", days, hours)
	}
	return fmt.Sprintf("%d h %d min", hours, minutes)
}
