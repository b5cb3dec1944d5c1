package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// ErrNotServed: nobody answers at the admin socket.
var ErrNotServed = errors.New("no PKI is being served from this state directory")

// Admin calls the admin API of a running server. Refusals are the errors of
// package enrol.
type Admin struct {
	// Socket is the path of the unix socket.
	Socket string
	// Actor is who asks, for the audit log.
	Actor string
}

// Token makes a one-time enrolment token; a ttl of zero means the server's
// default.
func (a Admin) Token(ctx context.Context, id identity.ID, ttl time.Duration) (t authority.Token, err error) {
	req := adminRequest{Identity: id.Path()}
	if ttl != 0 {
		req.TTL = ttl.String()
	}
	err = a.post(ctx, adminTokens, req, &t)
	t.ID = id
	return t, err
}

// Issue makes a key here and gets a certificate for it.
func (a Admin) Issue(ctx context.Context, id identity.ID, extra profile.Extra) (*enrol.Credentials, error) {
	key, csr, err := enrol.NewRequest()
	if err != nil {
		return nil, err
	}
	var issued enrol.Issued
	req := adminRequest{Identity: id.Path(), CSR: string(csr), DNS: extra.DNS, IPs: extra.IPs}
	if err := a.post(ctx, adminIssue, req, &issued); err != nil {
		return nil, err
	}
	return issued.Credentials(key, nil)
}

// EAB makes an external account binding for a role of the ACME server; device is empty but
// for a role of PBXs.
func (a Admin) EAB(ctx context.Context, role string, device identity.Serial) (eab EAB, err error) {
	body, err := json.Marshal(eabRequest{Role: role, Device: device, Actor: a.Actor})
	if err != nil {
		return eab, err
	}
	return eab, a.read(ctx, http.MethodPost, adminEAB, body, &eab)
}

// Certificates lists what was issued for the identity, or with the zero ID
// everything.
func (a Admin) Certificates(ctx context.Context, id identity.ID) (list []authority.Certificate, err error) {
	path := adminCertificates
	if !id.IsZero() {
		path += "?identity=" + url.QueryEscape(id.Path())
	}
	return list, a.get(ctx, path, &list)
}

// Blocks lists the blocked identities.
func (a Admin) Blocks(ctx context.Context) (list []authority.Block, err error) {
	return list, a.get(ctx, adminBlocks, &list)
}

// Block blocks an identity and gives the block list's epoch.
func (a Admin) Block(ctx context.Context, id identity.ID, reason string) (epoch uint64, err error) {
	var e epochAnswer
	err = a.post(ctx, adminBlock, adminRequest{Identity: id.Path(), Reason: reason}, &e)
	return e.Epoch, err
}

// Unblock ends a block.
func (a Admin) Unblock(ctx context.Context, id identity.ID, reason string) (epoch uint64, err error) {
	var e epochAnswer
	err = a.post(ctx, adminUnblock, adminRequest{Identity: id.Path(), Reason: reason}, &e)
	return e.Epoch, err
}

// VerifyAudit checks the whole audit log.
func (a Admin) VerifyAudit(ctx context.Context) (v audit.Verified, err error) {
	return v, a.get(ctx, adminVerify, &v)
}

// Log reads the audit log with proofs.
func (a Admin) Log(key audit.Key) *audit.Client {
	return &audit.Client{URL: adminURL, HTTP: a.client(), Key: key}
}

// Audit gives the entries after a sequence number.
func (a Admin) Audit(ctx context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		fail := func(err error) { yield(audit.Entry{}, err) }
		body, err := a.do(ctx, http.MethodGet, adminAudit+"?after="+strconv.FormatUint(after, 10), nil)
		if err != nil {
			fail(err)
			return
		}
		defer body.Close()
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			var e audit.Entry
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				fail(err)
				return
			}
			if e.Seq == 0 {
				fail(errors.New(e.Reason))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			fail(err)
		}
	}
}

// Forecast counts what expires from now on, in n periods of the given length.
func (a Admin) Forecast(ctx context.Context, length time.Duration, n int) (f authority.Forecast, err error) {
	q := url.Values{"length": {length.String()}, "periods": {strconv.Itoa(n)}}
	return f, a.get(ctx, adminExpiry+"?"+q.Encode(), &f)
}

// Standing tells what the PKI knows of a certificate, by its number in hex.
func (a Admin) Standing(ctx context.Context, serial string) (s authority.Standing, err error) {
	return s, a.get(ctx, adminStanding+"?certificate="+url.QueryEscape(serial), &s)
}

func (a Admin) post(ctx context.Context, path string, req adminRequest, out any) error {
	req.Actor = a.Actor
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	return a.read(ctx, http.MethodPost, path, body, out)
}

func (a Admin) get(ctx context.Context, path string, out any) error {
	return a.read(ctx, http.MethodGet, path, nil, out)
}

func (a Admin) read(ctx context.Context, method, path string, body []byte, out any) error {
	answer, err := a.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// adminURL has a host only because HTTP needs one.
const adminURL = "http://admin"

func (a Admin) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", a.Socket)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNotServed, err)
			}
			return conn, nil
		},
	}}
}

func (a Admin) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	return a.send(ctx, method, path, bytes.NewReader(body))
}

func (a Admin) send(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, adminURL+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set(actorHeader, a.Actor)
	resp, err := a.client().Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its address means nothing to people
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		return nil, enrol.ReadProblem(resp)
	}
	return resp.Body, nil
}
