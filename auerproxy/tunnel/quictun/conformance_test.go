package quictun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

func TestConformance(t *testing.T) {
	pair := func(t *testing.T) (client, server tunnel.Session, stop func()) {
		t.Helper()
		return tunneltest.NewPair(t, tunneltest.Options{Transport: tunnel.QUIC})
	}
	tunneltest.Run(t, pair)
	tunneltest.RunAwait(t, pair)
}
