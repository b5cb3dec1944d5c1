package relay

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

const (
	// ticketPeriod is how long one key encrypts new tickets; it opens them for
	// twice that.
	ticketPeriod = 12 * time.Hour
	ticketKeyLen = 32
	// minTicketSecret is the shortest secret that is taken, in bytes.
	minTicketSecret = 32
)

// tickets are the keys of session tickets (RFC 8446 §4.6.1). Relays with the same
// secret derive the same keys from it and from the time, so that a device resumes
// with any of them. They keep no state.
type tickets struct {
	secret []byte
	now    func() time.Time

	mu     sync.Mutex
	period int64       // guarded by mu; that cfg is for
	cfg    *tls.Config // guarded by mu; holds the keys of this period and the one before
}

func newTickets(file configs.SecretFile) (*tickets, error) {
	secret, err := file.Read()
	if err != nil {
		return nil, fmt.Errorf("relay: ticket_secret_file: %w", err)
	}
	if len(secret) < minTicketSecret {
		return nil, fmt.Errorf("relay: ticket_secret_file: %s has %d bytes, want at least %d random ones, e.g. of openssl rand -hex 32", string(file), len(secret), minTicketSecret)
	}
	return &tickets{secret: secret, now: time.Now}, nil
}

// keys gives the configuration that holds the keys of now.
func (t *tickets) keys() (*tls.Config, error) {
	period := t.now().Unix() / int64(ticketPeriod/time.Second)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cfg != nil && t.period == period {
		return t.cfg, nil
	}
	var keys [2][ticketKeyLen]byte
	for i := range keys {
		k, err := hkdf.Key(sha256.New, t.secret, nil, "auerproxy session tickets "+strconv.FormatInt(period-int64(i), 10), ticketKeyLen)
		if err != nil {
			return nil, fmt.Errorf("relay: key of session tickets: %w", err)
		}
		copy(keys[i][:], k)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	cfg.SetSessionTicketKeys(keys[:])
	t.cfg, t.period = cfg, period
	return cfg, nil
}

// serverTLS is the configuration of a listener. Without a secret it hands out no
// tickets: one costs kilobytes for each session, since it holds the client's
// certificates, and ends with the process anyway.
func (r *Relay) serverTLS(protos ...string) *tls.Config {
	cfg := r.cfg.Credentials.ServerConfig(r.checkPeer, protos...)
	t := r.tickets
	if t == nil {
		cfg.SessionTicketsDisabled = true
		return cfg
	}
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		keys, err := t.keys()
		if err != nil {
			return nil, err
		}
		return keys.EncryptTicket(cs, ss)
	}
	cfg.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		keys, err := t.keys()
		if err != nil {
			return nil, err
		}
		return keys.DecryptTicket(ticket, cs)
	}
	return cfg
}
