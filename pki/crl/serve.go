package crl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Paths, below the public URL.
const (
	// ListPath begins the path of a list: ListPath + name + ".crl". The kind alone
	// is the name of the newest intermediate's list: /crl/device.crl.
	ListPath = "/crl/"
	// OCSPPath takes a request by POST, or by GET with the request as another
	// element of the path (RFC 6960 appendix A).
	OCSPPath = "/ocsp"

	listSuffix = ".crl"
)

// The media types (RFC 2585 §4, RFC 6960 appendix C).
const (
	listType         = "application/pkix-crl"
	ocspRequestType  = "application/ocsp-request"
	ocspResponseType = "application/ocsp-response"
)

// ErrNoList: there is no list of that name, or it has not been made yet.
var ErrNoList = errors.New("no such revocation list")

const (
	// lookEvery is how often the store is asked whether another process has made a
	// new list.
	lookEvery = time.Second
	// slowest is how long the download of a list may take.
	slowest = 2 * time.Minute
)

// served is a list as it is in the store.
type served struct {
	state
	der    []byte
	looked time.Time
}

// List tells what is served under one name.
type List struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`
	Number  uint64    `json:"number"`
	Entries int       `json:"entries"`
	Made    time.Time `json:"made"`
}

// Failures is how often this process failed to make the lists.
func (s *Service) Failures() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures
}

// Lists tells of the list of every intermediate; one that has not been made has
// Number 0.
func (s *Service) Lists(ctx context.Context) (out []List, err error) {
	err = s.cfg.DB.View(ctx, func(tx store.Tx) error {
		out = nil
		for _, i := range s.cfg.Issuers() {
			st, err := stateOf(tx, i.Name())
			if err != nil {
				return err
			}
			out = append(out, List{
				Name: i.Name(), Kind: i.Kind.String(), Number: st.Published, Entries: st.Entries, Made: st.Made,
			})
		}
		return nil
	})
	return out, err
}

// List gives the list of an intermediate by its name, or by its kind that of the
// newest, in DER form. Without it, it fails with [ErrNoList].
func (s *Service) List(ctx context.Context, name string) ([]byte, error) {
	l, err := s.list(ctx, name+listSuffix)
	if err != nil {
		return nil, err
	}
	return l.der, nil
}

// ServeList answers GET and HEAD of a list.
func (s *Service) ServeList(w http.ResponseWriter, r *http.Request) {
	file := strings.TrimPrefix(r.URL.Path, ListPath)
	l, err := s.list(r.Context(), file)
	if errors.Is(err, ErrNoList) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if err != nil {
		s.cfg.Logger.Error("a revocation list cannot be read", "list", file, "error", err)
		http.Error(w, "the list cannot be read now", http.StatusServiceUnavailable)
		return
	}
	// A long list on a slow line takes longer than other answers.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slowest)) // else the server's holds
	fresh := max(0, time.Until(l.Made.Add(s.cfg.Rebuild)))
	h := w.Header()
	h.Set("Content-Type", listType)
	h.Set("ETag", `"`+strconv.FormatUint(l.Published, 10)+`"`)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(fresh.Seconds())))
	http.ServeContent(w, r, "", l.Made, bytes.NewReader(l.der))
}

// list gives the list of a file name.
func (s *Service) list(ctx context.Context, file string) (*served, error) {
	name, ok := strings.CutSuffix(file, listSuffix)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoList, file)
	}
	var issuer *Issuer
	for _, i := range s.cfg.Issuers() {
		if i.Name() == name || i.Newest && i.Kind.String() == name {
			issuer = &i
		}
	}
	if issuer == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoList, file)
	}
	name = issuer.Name()
	s.mu.Lock()
	have := s.served[name]
	s.mu.Unlock()
	if have != nil && time.Since(have.looked) < lookEvery {
		return have, nil
	}
	next := &served{looked: time.Now()}
	err := s.cfg.DB.View(ctx, func(tx store.Tx) (err error) {
		if next.state, err = stateOf(tx, name); err != nil {
			return err
		}
		if next.Published == 0 {
			return fmt.Errorf("%w yet: %q", ErrNoList, file)
		}
		if have != nil && have.Published == next.Published {
			next.der = have.der
			return nil
		}
		next.der, err = getList(tx, name, next.Parts)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.served[name]; now == nil || now.Published <= next.Published {
		s.served[name] = next
	}
	return next, nil
}
