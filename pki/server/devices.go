package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The admin API's calls about the list of devices, server and client side by side.
const (
	adminDevices   = "/v1/devices"
	adminDevice    = "/v1/devices/{serial}"
	adminImport    = "/v1/devices/import"
	adminSecret    = "/v1/devices/{serial}/secret"
	adminRetire    = "/v1/devices/{serial}/retire"
	adminReinstate = "/v1/devices/{serial}/reinstate"
)

// maxDevices bounds one answer of the list.
const maxDevices = 1000

func (s *Server) deviceRoutes() map[string]handler {
	return map[string]handler{
		"GET " + adminDevices:    s.adminDevices,
		"GET " + adminDevice:     s.adminDevice,
		"POST " + adminSecret:    s.adminSecret,
		"POST " + adminRetire:    s.adminRetire(s.auth.Retire),
		"POST " + adminReinstate: s.adminRetire(s.auth.Reinstate),
	}
}

func serialOf(r *http.Request) (identity.Serial, error) {
	serial, err := identity.ParseSerial(r.PathValue("serial"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	return serial, nil
}

func (s *Server) adminDevices(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit := maxDevices
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: limit %q, want a number from 1 to %d", enrol.ErrBadRequest, text, maxDevices)
		}
		limit = min(n, maxDevices)
	}
	list, err := s.auth.Devices(r.Context(), q.Get("prefix"), identity.Serial(q.Get("after")), q.Get("state"), limit)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) adminDevice(w http.ResponseWriter, r *http.Request) error {
	serial, err := serialOf(r)
	if err != nil {
		return err
	}
	d, err := s.auth.Device(r.Context(), serial)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, d)
}

type secretAnswer struct {
	Secret string `json:"secret"`
}

func (s *Server) adminSecret(w http.ResponseWriter, r *http.Request) error {
	serial, err := serialOf(r)
	if err != nil {
		return err
	}
	req, err := decode[adminRequest](r)
	if err != nil {
		return err
	}
	plain, err := s.auth.ResetSecret(r.Context(), serial, req.Actor)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, secretAnswer{plain})
}

func (s *Server) adminRetire(change func(context.Context, identity.Serial, string, string) (uint64, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		serial, err := serialOf(r)
		if err != nil {
			return err
		}
		req, err := decode[adminRequest](r)
		if err != nil {
			return err
		}
		epoch, err := change(r.Context(), serial, req.Reason, req.Actor)
		if err != nil {
			return err
		}
		return answer(w, http.StatusOK, epochAnswer{epoch})
	}
}

// importLine is one line of the answer to an import: how far it is; the last one says
// whether it has been done.
type importLine struct {
	authority.Imported

	Done    bool           `json:"done,omitempty"`
	Problem *enrol.Problem `json:"problem,omitempty"`
}

// adminImport reads a CSV list from the body and tells its progress, one JSON object
// per line.
func (s *Server) adminImport(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	// The deadlines are for small requests.
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}), control.EnableFullDuplex()); err != nil {
		s.cfg.Logger.Error("import", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	encode := json.NewEncoder(w)
	tell := func(l importLine) {
		if encode.Encode(l) == nil {
			_ = control.Flush() // a client that is gone does not end what has begun
		}
	}
	done, err := s.auth.ImportDevices(context.WithoutCancel(r.Context()), http.MaxBytesReader(w, r.Body, s.cfg.MaxImport),
		r.Header.Get(actorHeader), func(rows int) { tell(importLine{Imported: authority.Imported{Rows: rows}}) })
	last := importLine{Imported: done, Done: err == nil}
	if err != nil {
		last.Problem = enrol.NewProblem(err)
	}
	s.metrics.request("admin POST "+adminImport, map[bool]string{true: "ok", false: "refused"}[err == nil])
	tell(last)
}

// actorHeader carries the actor where the body is something else.
const actorHeader = "Pki-Actor"

// Devices gives a page of the list of devices; see [authority.Authority.Devices].
func (a Admin) Devices(ctx context.Context, prefix string, after identity.Serial, state string, limit int) (list []authority.Device, err error) {
	q := url.Values{"prefix": {prefix}, "after": {string(after)}, "state": {state}, "limit": {strconv.Itoa(limit)}}
	return list, a.get(ctx, adminDevices+"?"+q.Encode(), &list)
}

// Device gives one device.
func (a Admin) Device(ctx context.Context, serial identity.Serial) (d authority.Device, err error) {
	return d, a.get(ctx, adminDevices+"/"+string(serial), &d)
}

// ResetSecret gives a device a new factory secret.
func (a Admin) ResetSecret(ctx context.Context, serial identity.Serial) (plain string, err error) {
	var s secretAnswer
	err = a.post(ctx, adminDevices+"/"+string(serial)+"/secret", adminRequest{}, &s)
	return s.Secret, err
}

// Retire ends a device for good, and gives the block list's epoch.
func (a Admin) Retire(ctx context.Context, serial identity.Serial, reason string) (epoch uint64, err error) {
	var e epochAnswer
	err = a.post(ctx, adminDevices+"/"+string(serial)+"/retire", adminRequest{Reason: reason}, &e)
	return e.Epoch, err
}

// Reinstate takes a retirement back.
func (a Admin) Reinstate(ctx context.Context, serial identity.Serial, reason string) (epoch uint64, err error) {
	var e epochAnswer
	err = a.post(ctx, adminDevices+"/"+string(serial)+"/reinstate", adminRequest{Reason: reason}, &e)
	return e.Epoch, err
}

// ImportDevices sends a CSV list; see [authority.Authority.ImportDevices]. progress,
// which may be nil, gets the rows so far.
func (a Admin) ImportDevices(ctx context.Context, list io.Reader, progress func(rows int)) (done authority.Imported, err error) {
	body, err := a.send(ctx, http.MethodPost, adminImport, list)
	if err != nil {
		return done, err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		var l importLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return done, fmt.Errorf("answer of %s: %w", adminImport, err)
		}
		switch {
		case l.Problem != nil:
			return l.Imported, l.Problem
		case l.Done:
			return l.Imported, nil
		case progress != nil:
			progress(l.Rows)
		}
	}
	return done, errors.Join(errors.New("the PKI broke off the import; repeat it"), lines.Err())
}
