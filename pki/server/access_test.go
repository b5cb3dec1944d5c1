package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// Requests to every listener are noted, by their status, and strangers in the handshake;
// the admin socket has no addresses.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := accesslog.New(accesslog.Config{Dir: dir, Service: "pki"})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	p := start(t, "", authority.Config{}, server.Config{AccessLog: log, EnrolPerMinute: 1, RevocationListen: "127.0.0.1:0"})
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, "/healthz", "", http.StatusOK},
		{http.MethodPost, enrol.RenewPath, "{}", http.StatusForbidden},
		{http.MethodPost, enrol.EnrolPath, `{"token":"x"}`, http.StatusBadRequest},
		{http.MethodPost, enrol.EnrolPath, `{"token":"x"}`, http.StatusTooManyRequests},
	} {
		if status, text, err := p.call(t, p.anonymous(), c.method, c.path, c.body); err != nil || status != c.status {
			t.Errorf("%s: %d %s %v", c.path, status, text, err)
		}
	}
	resp, err := http.Get("http://" + p.RevocationAddr().String() + "/none")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "no hello, no hello, no hello\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	if _, err := p.admin.Blocks(t.Context()); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	p.stop()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	got := map[accesslog.Class]int{}
	for r, err := range (accesslog.Reader{Dir: dir}).Raw(time.Time{}, time.Time{}) {
		if err != nil || !r.Address.IsLoopback() {
			t.Errorf("%+v, %v", r, err)
		}
		got[r.Class]++
	}
	if got[accesslog.OK] != 1 || got[accesslog.Refused] != 4 || got[accesslog.Limited] != 1 || got[accesslog.Failed] != 0 {
		t.Errorf("records: %v", got)
	}
}
