package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// The admin API's calls that give files, server and client side by side.
const (
	adminExport = "/v1/export"
	adminLists  = "/v1/crl"
	adminList   = "/v1/crl/{name}"
)

// adminExport streams the store. It breaks the connection off where it fails, which
// the client cannot take for the end.
func (s *Server) adminExport(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	if err := store.Export(r.Context(), s.auth.Store(), w); err != nil {
		s.cfg.Logger.Error("export broken off", "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (s *Server) adminLists(w http.ResponseWriter, r *http.Request) error {
	lists := []crl.List{}
	if s.cfg.Revocation != nil {
		more, err := s.cfg.Revocation.Lists(r.Context())
		if err != nil {
			return err
		}
		lists = append(lists, more...)
	}
	return answer(w, http.StatusOK, lists)
}

func (s *Server) adminList(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Revocation == nil {
		return fmt.Errorf("%w: no revocation lists are made here", enrol.ErrBadRequest)
	}
	der, err := s.cfg.Revocation.List(r.Context(), r.PathValue("name"))
	if errors.Is(err, crl.ErrNoList) {
		return fmt.Errorf("%w: %w; \"pki crl list\" names them", enrol.ErrBadRequest, err)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pkix-crl")
	_, _ = w.Write(der) // the client is gone, and there is nobody to tell
	return nil
}

// Export writes everything in the store; see [store.Export].
func (a Admin) Export(ctx context.Context, w io.Writer) error {
	body, err := a.do(ctx, http.MethodGet, adminExport, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

// RevocationLists tells of the list of every intermediate.
func (a Admin) RevocationLists(ctx context.Context) (lists []crl.List, err error) {
	return lists, a.get(ctx, adminLists, &lists)
}

// RevocationList gives a list in DER form (RFC 5280 §5).
func (a Admin) RevocationList(ctx context.Context, name string) ([]byte, error) {
	body, err := a.do(ctx, http.MethodGet, adminLists+"/"+url.PathEscape(name), nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
