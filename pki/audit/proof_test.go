package audit

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func find(t testing.TB, l *Log, q Query) (Page, []Entry) {
	t.Helper()
	p, err := l.Find(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	_, entries, err := p.Verify(l.Key())
	if err != nil {
		t.Fatal(err)
	}
	return p, entries
}

// Every entry of trees of every size up to 37.
func TestEveryProof(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 0)
	for n := range 37 {
		add(t, db, n, n+1)
		head := signed(t, l)
		p, entries := find(t, l, Query{})
		if len(entries) != n+1 || p.More {
			t.Fatalf("%d entries of %d", len(entries), n+1)
		}
		for i := range p.Entries {
			p.Entries[i].Index ^= 1
			if _, err := p.Entries[i].verify(head); n > 0 && !errors.Is(err, ErrProof) {
				t.Fatalf("entry %d of %d passes for its neighbour: %v", i, n+1, err)
			}
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 0)
	mine := "device/0123456789"
	update(t, db, func(tx store.Tx) error {
		for i, e := range []Entry{
			{Event: EventToken, Identity: mine},
			{Event: EventIssue, Identity: mine, Certificate: "a1"},
			{Event: EventIssue, Identity: "device/01234567890", Certificate: "a11"},
			{Event: EventIssue, Identity: "device/012345678", Certificate: "a"},
			{Event: EventConfirm, Identity: mine, Certificate: "a1"},
			{Event: EventRefuse, Identity: mine, Certificate: "b2"},
			{Event: EventBlock, Identity: "service/x"},
		} {
			if err := Append(tx, e); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	})
	if p, err := l.Find(t.Context(), Query{Identity: mine}); err != nil || len(p.Entries) != 0 {
		t.Errorf("entries that are in no checkpoint: %+v, %v", p, err)
	}
	signed(t, l)
	for _, c := range []struct {
		q    Query
		want []uint64
		more bool
	}{
		{Query{}, []uint64{1, 2, 3, 4, 5, 6, 7}, false},
		{Query{After: 5}, []uint64{6, 7}, false},
		{Query{After: 5, Limit: 1}, []uint64{6}, true},
		{Query{Limit: 7}, []uint64{1, 2, 3, 4, 5, 6, 7}, false},
		{Query{Identity: mine}, []uint64{1, 2, 5, 6}, false},
		{Query{Identity: mine, Limit: 3}, []uint64{1, 2, 5}, true},
		{Query{Identity: mine, After: 2}, []uint64{5, 6}, false},
		{Query{Identity: mine, After: 6}, nil, false},
		{Query{Identity: "device"}, nil, false},
		{Query{Certificate: "a1"}, []uint64{2}, false},
		{Query{Certificate: "b2"}, nil, false}, // never issued
		{Query{Certificate: "a1", Identity: mine}, []uint64{2}, false},
		{Query{Certificate: "a1", Identity: "service/x"}, nil, false},
	} {
		p, entries := find(t, l, c.q)
		var got []uint64
		for _, e := range entries {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, c.want) || p.More != c.more {
			t.Errorf("%+v: %v, more %v, want %v, %v", c.q, got, p.More, c.want, c.more)
		}
	}
}

// A page that was changed on its way.
func TestPageRefuses(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 9)
	signed(t, l)
	other, _ := opened(t, 9)
	foreign := signed(t, other)
	good := func() Page {
		p, _ := find(t, l, Query{Identity: "device/4"})
		return p
	}
	for name, c := range map[string]struct {
		change func(*Page)
		want   error
	}{
		"entry":      {func(p *Page) { p.Entries[0].Entry = bytes.Replace(p.Entries[0].Entry, []byte("c4"), []byte("c5"), 1) }, ErrProof},
		"no entry":   {func(p *Page) { p.Entries[0].Entry = nil }, ErrProof},
		"index":      {func(p *Page) { p.Entries[0].Index++ }, ErrProof},
		"no index":   {func(p *Page) { p.Entries[0].Index = -1 }, ErrProof},
		"beyond":     {func(p *Page) { p.Entries[0].Index = 9 }, ErrProof},
		"proof":      {func(p *Page) { p.Entries[0].Proof[0][0] ^= 1 }, ErrProof},
		"shorter":    {func(p *Page) { p.Entries[0].Proof = p.Entries[0].Proof[1:] }, ErrProof},
		"longer":     {func(p *Page) { p.Entries[0].Proof = append(p.Entries[0].Proof, tlog.Hash{}) }, ErrProof},
		"checkpoint": {func(p *Page) { p.Checkpoint = foreign.Note }, ErrCheckpoint},
		"nothing":    {func(p *Page) { p.Checkpoint = "" }, ErrCheckpoint},
	} {
		p := good()
		c.change(&p)
		if _, _, err := p.Verify(l.Key()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	add(t, db, 9, 10)
}

func TestSavedProof(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 5)
	ca := pkitest.New(t, "comtrexx.test")
	device := identity.Device("comtrexx.test", "0123456789")
	cert := ca.Credentials(device).Leaf()
	entry := Entry{
		Event: EventIssue, Identity: device.Path(), Certificate: CertificateSerial(cert),
		SPKI: sum(cert.RawSubjectPublicKeyInfo), Fingerprint: sum(cert.Raw),
	}
	update(t, db, func(tx store.Tx) error { return Append(tx, entry) })
	add(t, db, 5, 9)
	signed(t, l)
	p, _ := find(t, l, Query{Certificate: CertificateSerial(cert)})
	text := p.Proof(0).Marshal()
	if !bytes.HasPrefix(text, []byte("c2sp.org/tlog-proof@v1\nextra ")) || !bytes.Contains(text, []byte("\nindex 5\n")) {
		t.Errorf("format: %s", text)
	}
	proof, err := ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	head, e, err := proof.Certificate(l.Key(), cert)
	if err != nil || head.Size != 10 || e.Seq != 6 {
		t.Errorf("entry %d of %d, %v", e.Seq, head.Size, err)
	}
	if _, err := ParseProof(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))); err != nil {
		t.Errorf("a file that was through the hands of Windows: %v", err)
	}
	// The log grows, and the proof goes on being good.
	add(t, db, 10, 20)
	signed(t, l)
	if _, _, err := proof.Certificate(l.Key(), cert); err != nil {
		t.Error(err)
	}
	if _, _, err := proof.Certificate(l.Key(), ca.Credentials(device).Leaf()); !errors.Is(err, ErrNotLogged) {
		t.Errorf("another certificate of the device: %v", err)
	}
	for name, change := range map[string]func(*Entry){
		"event":       func(e *Entry) { e.Event = EventConfirm },
		"serial":      func(e *Entry) { e.Certificate = "1" },
		"identity":    func(e *Entry) { e.Identity = "device/9999999999" },
		"key":         func(e *Entry) { e.SPKI = "1" },
		"fingerprint": func(e *Entry) { e.Fingerprint = "1" },
	} {
		other := entry
		change(&other)
		if err := other.Issued(cert); !errors.Is(err, ErrNotLogged) {
			t.Errorf("other %s: %v", name, err)
		}
	}
	old := entry
	old.Fingerprint = ""
	if err := errors.Join(entry.Issued(cert), old.Issued(cert)); err != nil {
		t.Error(err)
	}
	twoNames := *cert
	twoNames.URIs = append(slices.Clone(cert.URIs), cert.URIs[0])
	if err := entry.Issued(&twoNames); !errors.Is(err, ErrNotLogged) {
		t.Errorf("a certificate that names two: %v", err)
	}
	dns := x509.Certificate{SerialNumber: cert.SerialNumber, RawSubjectPublicKeyInfo: cert.RawSubjectPublicKeyInfo, Raw: cert.Raw}
	if err := entry.Issued(&dns); err != nil {
		t.Errorf("a certificate without one of our names: %v", err)
	}

	for name, bad := range map[string]string{
		"nothing":     "",
		"a note":      p.Checkpoint,
		"no index":    strings.Replace(string(text), "index 5\n", "", 1),
		"huge index":  strings.Replace(string(text), "index 5\n", "index 18446744073709551615\n", 1),
		"half a hash": strings.Replace(string(text), "index 5\n", "index 5\nAAAA\n", 1),
		"too large":   string(text) + strings.Repeat("\n", MaxProof),
	} {
		if _, err := ParseProof([]byte(bad)); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if bare, err := ParseProof([]byte("c2sp.org/tlog-proof@v1\nindex 5\n\n" + p.Checkpoint)); err != nil {
		t.Error(err)
	} else if _, _, err := bare.Verify(l.Key()); !errors.Is(err, ErrProof) {
		t.Errorf("a proof without its entry: %v", err)
	}
}

// The bytes of an entry come through JSON as they are.
func TestEntryBytesSurvive(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 0)
	update(t, db, func(tx store.Tx) error {
		return Append(tx, Entry{Event: EventRefuse, Identity: "device/1", Reason: "<&>\u2028 \xff \"é\" \x00"})
	})
	signed(t, l)
	p, _ := find(t, l, Query{})
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Page
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if _, _, err := back.Verify(l.Key()); err != nil {
		t.Error(err)
	}
	verifies(t, l, 1)
}
