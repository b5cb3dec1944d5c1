package crl

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

const bucket store.Bucket = "crl"

const (
	// lease is how long a claimed list is waited for.
	lease = 30 * time.Second
	// leastGap is the least time between two lists of [Service.Run]; a build that
	// takes long makes it gapFactor times as long, so that a burst of blocks costs
	// a fifth of a core at most.
	leastGap  = time.Second
	gapFactor = 4
	// retry is the wait after a failure.
	retry = 5 * time.Second
	// skew is how far back a list and an OCSP response are dated, for clocks that
	// are behind.
	skew = 5 * time.Minute
)

// Service makes and serves lists and OCSP responses. Make it with [New]. All
// methods are safe for concurrent use.
type Service struct {
	cfg Config

	building sync.Mutex       // held by Build; guards known
	known    map[string]known // by identity

	delegating sync.Mutex // held while a delegate is made; taken before mu

	mu        sync.Mutex           // guards what follows
	served    map[string]*served   // by name
	delegates map[string]*delegate // by name
	hashes    map[string][]hashed  // by name
	failures  uint64               // of building
}

// known are the certificates of a revoked identity.
type known struct {
	epoch uint64
	certs []entry
}

type entry struct {
	issuer   string // key identifier
	serial   *big.Int
	notAfter time.Time
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Source == nil || cfg.Issuers == nil || cfg.Changed == nil {
		return nil, errors.New("CRL: the service lacks a store, a source, issuers or a signal of changes")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Service{
		cfg: cfg.withDefaults(), known: make(map[string]known), served: make(map[string]*served),
		delegates: make(map[string]*delegate), hashes: make(map[string][]hashed),
	}, nil
}

// Run makes the lists until ctx ends, and returns nil then. A failure is logged,
// counted and tried again.
func (s *Service) Run(ctx context.Context) error {
	for {
		changed, start := s.cfg.Changed(), time.Now()
		var swapped <-chan struct{}
		if s.cfg.Swapped != nil {
			swapped = s.cfg.Swapped()
		}
		wait := s.cfg.Rebuild
		if err := s.Build(ctx); err != nil && ctx.Err() == nil {
			s.mu.Lock()
			s.failures++
			s.mu.Unlock()
			s.cfg.Logger.Error("the revocation lists could not be made", "error", err, "retry_in", retry)
			wait, changed = retry, nil
		}
		if !pause(ctx, max(leastGap, gapFactor*time.Since(start))) {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-swapped:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// state is what the store knows of one list. Published < Number means that
// somebody is making it.
type state struct {
	Number    uint64    `json:"number"` // the last that was given out
	Claimed   time.Time `json:"claimed"`
	Epoch     uint64    `json:"epoch"`     // of what Number shows
	Published uint64    `json:"published"` // the number of the list in the store
	Entries   int       `json:"entries"`   // of it
	Parts     int       `json:"parts"`     // of it
	Made      time.Time `json:"made"`      // of it
}

func (st state) due(epoch uint64, now time.Time, rebuild time.Duration) bool {
	return st.Published == 0 || st.Published < st.Number || st.Epoch != epoch || now.Sub(st.Made) >= rebuild
}

func (st state) claimed(now time.Time) bool {
	return st.Published < st.Number && now.Sub(st.Claimed) < lease
}

// snapshot is who is revoked at an epoch.
type snapshot struct {
	epoch   uint64
	revoked []Revocation
}

// job is a list that this process has claimed.
type job struct {
	issuer Issuer
	number uint64
}

// Build makes the lists that are due: after a change, after [Config.Rebuild], or
// because there is none. When it returns, what was revoked before the call is in
// the lists in the store, whoever made them.
func (s *Service) Build(ctx context.Context) error {
	s.building.Lock()
	defer s.building.Unlock()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		snap, jobs, busy, err := s.claim(ctx)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if err := s.make(ctx, j, snap); err != nil {
				return fmt.Errorf("revocation list %s: %w", j.issuer.Name(), err)
			}
		}
		if !busy {
			return nil
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// claim takes a number for every list that is due, in the transaction that looks
// who is revoked. busy tells that another process is making one.
func (s *Service) claim(ctx context.Context) (snap snapshot, jobs []job, busy bool, err error) {
	// What takes long is looked up before, while others may write.
	err = s.cfg.DB.View(ctx, func(tx store.Tx) (err error) {
		snap, err = s.look(tx)
		return err
	})
	if err != nil {
		return snap, nil, false, err
	}
	issuers := s.cfg.Issuers()
	err = s.cfg.DB.Update(ctx, func(tx store.Tx) error {
		jobs, busy = nil, false
		now := time.Now().UTC()
		epoch, err := s.cfg.Source.Epoch(tx)
		if err != nil {
			return err
		}
		if epoch != snap.epoch {
			if snap, err = s.look(tx); err != nil {
				return err
			}
		}
		for _, i := range issuers {
			st, err := stateOf(tx, i.Name())
			if err != nil {
				return err
			}
			switch {
			case !st.due(epoch, now, s.cfg.Rebuild):
				continue
			case st.claimed(now):
				busy = true
				continue
			}
			// Milliseconds, so that a store restored from a backup goes on above
			// every number that was given out since.
			st.Number = max(st.Number+1, uint64(max(0, now.UnixMilli())))
			st.Claimed, st.Epoch = now, epoch
			if err := putState(tx, i.Name(), st); err != nil {
				return err
			}
			jobs = append(jobs, job{i, st.Number})
		}
		return nil
	})
	s.forget(snap)
	return snap, jobs, busy, err
}

// look reads who is revoked, and the certificates of those that were not yet at
// the last look.
func (s *Service) look(tx store.Tx) (snap snapshot, err error) {
	if snap.epoch, err = s.cfg.Source.Epoch(tx); err != nil {
		return snap, err
	}
	if err := s.cfg.Source.Revocations(tx, func(r Revocation) error {
		snap.revoked = append(snap.revoked, r)
		return nil
	}); err != nil {
		return snap, err
	}
	for _, r := range snap.revoked {
		if k, ok := s.known[r.Identity]; ok && k.epoch == r.Epoch {
			continue
		}
		k := known{epoch: r.Epoch}
		if err := s.cfg.Source.CertificatesOf(tx, r.Identity, func(c Certificate) error {
			k.certs = append(k.certs, entry{string(c.IssuerKeyID), c.Serial, c.NotAfter})
			return nil
		}); err != nil {
			return snap, err
		}
		s.known[r.Identity] = k
	}
	return snap, nil
}

// forget drops those that are revoked no more.
func (s *Service) forget(snap snapshot) {
	if len(s.known) <= len(snap.revoked) {
		return
	}
	now := make(map[string]bool, len(snap.revoked))
	for _, r := range snap.revoked {
		now[r.Identity] = true
	}
	for identity := range s.known {
		if !now[identity] {
			delete(s.known, identity)
		}
	}
}

// make signs a claimed list and stores it, unless a later one is there.
func (s *Service) make(ctx context.Context, j job, snap snapshot) error {
	now := time.Now().UTC()
	list := &x509.RevocationList{
		Number:                    new(big.Int).SetUint64(j.number),
		ThisUpdate:                now.Add(-skew),
		NextUpdate:                now.Add(s.cfg.Validity),
		RevokedCertificateEntries: s.entries(j.issuer, snap, now),
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, j.issuer.Cert, j.issuer.Key)
	if err != nil {
		return err
	}
	name := j.issuer.Name()
	err = s.cfg.DB.Update(ctx, func(tx store.Tx) error {
		st, err := stateOf(tx, name)
		if err != nil || st.Published >= j.number {
			return err
		}
		if st.Parts, err = putList(tx, name, der, st.Parts); err != nil {
			return err
		}
		st.Published, st.Entries, st.Made = j.number, len(list.RevokedCertificateEntries), now
		return putState(tx, name, st)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.served, name) // the next request reads it
	s.mu.Unlock()
	s.cfg.Logger.Debug("revocation list made", "list", name, "number", j.number, "entries", len(list.RevokedCertificateEntries), "bytes", len(der))
	return nil
}

func (s *Service) entries(i Issuer, snap snapshot, now time.Time) (out []x509.RevocationListEntry) {
	id := string(i.Cert.SubjectKeyId)
	for _, r := range snap.revoked {
		for _, c := range s.known[r.Identity].certs {
			if c.issuer != id || c.notAfter.Add(s.cfg.Validity).Before(now) {
				continue
			}
			out = append(out, x509.RevocationListEntry{
				SerialNumber: c.serial, RevocationTime: r.Time, ReasonCode: r.reason(),
			})
		}
	}
	return out
}

// reason is the CRLReason (RFC 5280 §5.3.1). Only a hold may end.
func (r Revocation) reason() int {
	if r.Final {
		return ocsp.CessationOfOperation
	}
	return ocsp.CertificateHold
}

func stateKey(name string) []byte { return []byte("state/" + name) }

func listKey(name string, part int) []byte { return fmt.Appendf(nil, "list/%s/%03d", name, part) }

// partSize is what one value of the store takes of a list, in bytes; its own bound is
// reached by the list of a large fleet.
const partSize = 4 << 20

// putList stores a list instead of one of old parts, and gives the number of parts.
func putList(tx store.Tx, name string, der []byte, old int) (parts int, err error) {
	for part := range slices.Chunk(der, partSize) {
		if err := tx.Put(bucket, listKey(name, parts), part); err != nil {
			return 0, err
		}
		parts++
	}
	for p := parts; p < old; p++ {
		if err := tx.Delete(bucket, listKey(name, p)); err != nil {
			return 0, err
		}
	}
	return parts, nil
}

func getList(tx store.Tx, name string, parts int) (der []byte, err error) {
	for p := range parts {
		part, err := tx.Get(bucket, listKey(name, p))
		if err != nil {
			return nil, err
		}
		der = append(der, part...)
	}
	return der, nil
}

func stateOf(tx store.Tx, name string) (st state, err error) {
	data, err := tx.Get(bucket, stateKey(name))
	if err != nil || data == nil {
		return st, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("store: state of list %s: %w", name, err)
	}
	return st, nil
}

func putState(tx store.Tx, name string, st state) error {
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return tx.Put(bucket, stateKey(name), data)
}
