package relay

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func secretFile(t *testing.T, text string) configs.SecretFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return configs.SecretFile(path)
}

// TestTickets takes a ticket of one relay to another, or to the same one later.
func TestTickets(t *testing.T) {
	t.Parallel()
	const td = identity.DefaultTrustDomain
	start := time.Unix(0, 0).Add(1000 * ticketPeriod)
	secret, other := strings.Repeat("s", minTicketSecret), strings.Repeat("o", minTicketSecret)
	for name, tt := range map[string]struct {
		first, second string
		after         time.Duration
		resumes       bool
	}{
		"same secret":                 {secret, secret, 0, true},
		"another secret":              {secret, other, 0, false},
		"none at first":               {"", secret, 0, false},
		"none later":                  {secret, "", 0, false},
		"none":                        {"", "", 0, false},
		"at the end of its period":    {secret, secret, ticketPeriod - time.Second, true},
		"at the end of the next one":  {secret, secret, 2*ticketPeriod - time.Second, true},
		"after the end of the next":   {secret, secret, 2 * ticketPeriod, false},
		"before its time (clock set)": {secret, secret, -time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := pkitest.New(t, td)
			client := ca.Credentials(identity.Device(td, "0123456789")).ClientConfig(identity.RelayDNSName(td), nil, tunnel.ALPN)
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			relay := func(id, secret string, now time.Time) *Relay {
				cfg := Config{Credentials: ca.Credentials(identity.Relay(td, id))}
				if secret != "" {
					cfg.TicketSecretFile = secretFile(t, secret)
				}
				r, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				if r.tickets != nil {
					r.tickets.now = func() time.Time { return now }
				}
				return r
			}
			if resumed(t, client, relay("r1", tt.first, start)) {
				t.Error("the first session resumes")
			}
			if got := resumed(t, client, relay("r2", tt.second, start.Add(tt.after))); got != tt.resumes {
				t.Errorf("resumed: %t, want %t", got, tt.resumes)
			}
		})
	}
}

// resumed makes a TLS session that ends with a byte behind the ticket.
func resumed(t *testing.T, client *tls.Config, r *Relay) bool {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", r.serverTLS(tunnel.ALPN))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, err = c.Write([]byte{0})
			defer c.Close()
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

func TestTicketSecret(t *testing.T) {
	t.Parallel()
	if _, err := newTickets(secretFile(t, strings.Repeat("s", minTicketSecret-1))); err == nil || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("a short secret: %v", err)
	}
	if _, err := newTickets("/nonexistent"); err == nil || !strings.Contains(err.Error(), "ticket_secret_file") {
		t.Errorf("no file: %v", err)
	}
}
