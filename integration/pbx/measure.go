package pbx

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// measureEvery is the time between two measurements.
const measureEvery = 5 * time.Second

// Measure gives the facts of this machine while run runs, for [Config.Facts] of many
// PBXs.
func Measure(serial identity.Serial, log hclog.Logger) (source func() (facts.Facts, error), run func(context.Context) error) {
	s := facts.New(facts.Config{Serial: serial, Interval: measureEvery, Logger: log})
	return func() (facts.Facts, error) { return measured(s) }, s.Run
}

// measured asks a facts server for its last measurement, which it only tells by HTTP.
func measured(s *facts.Server) (f facts.Facts, err error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/facts.json", nil)
	if err != nil {
		return f, err
	}
	var w answer
	s.ServeHTTP(&w, r)
	if w.status != 0 && w.status != http.StatusOK {
		return f, fmt.Errorf("facts of the machine: %s", strings.TrimSpace(string(w.body)))
	}
	err = json.Unmarshal(w.body, &f)
	return f, err
}

// answer keeps an answer.
type answer struct {
	header http.Header
	status int
	body   []byte
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}
