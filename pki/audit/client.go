package audit

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// Paths of the log, below the PKI's address. Refusals are problem documents as in
// package enrol.
const (
	// CheckpointPath gives the last checkpoint: text/plain.
	CheckpointPath = "/v1/log/checkpoint"
	// TilePath is followed by <level>/<number>[.p/<width>], and gives hashes.
	TilePath = "/v1/log/tile/"
	// ConsistencyPath takes from and to and gives a [Consistency].
	ConsistencyPath = "/v1/log/consistency"
	// EntriesPath takes serial or identity, certificate, after and limit, and gives a
	// [Page]. A device gets the entries about itself.
	EntriesPath = "/v1/log/entries"
)

// Consistency is a proof that the tree of size To begins with that of size From.
type Consistency struct {
	From  int64          `json:"from"`
	To    int64          `json:"to"`
	Proof tlog.TreeProof `json:"proof"`
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 8 << 20

// ErrAnswer: an answer of the log cannot be read.
var ErrAnswer = errors.New("unreadable answer of the audit log")

// Client reads a log over HTTP. It believes nothing that is not signed with Key.
type Client struct {
	// URL is where the PKI listens, e.g. "https://pki.example.com:8443".
	URL string
	// HTTP makes the requests. Nil means http.DefaultClient.
	HTTP *http.Client
	// Key is the log's.
	Key Key
}

// Checkpoint gives the last checkpoint.
func (c *Client) Checkpoint(ctx context.Context) (Checkpoint, error) {
	text, err := c.get(ctx, CheckpointPath, nil)
	if err != nil {
		return Checkpoint{}, err
	}
	return c.Key.Checkpoint(text)
}

// Since gives the last checkpoint, and checks that its tree contains the one of a
// checkpoint that was kept. An error wraps [ErrForked] where it does not.
func (c *Client) Since(ctx context.Context, kept Checkpoint) (Checkpoint, error) {
	head, err := c.Checkpoint(ctx)
	if err != nil {
		return head, err
	}
	var answer Consistency
	if kept.Size > 0 && kept.Size < head.Size {
		err = c.json(ctx, ConsistencyPath, url.Values{
			"from": {strconv.FormatInt(kept.Size, 10)}, "to": {strconv.FormatInt(head.Size, 10)},
		}, &answer)
		if err != nil {
			return head, err
		}
	}
	return head, Consistent(kept, head, answer.Proof)
}

// Find asks for entries and verifies the answer.
func (c *Client) Find(ctx context.Context, q Query) (Page, []Entry, error) {
	values := url.Values{}
	for name, v := range map[string]string{"identity": q.Identity, "certificate": q.Certificate} {
		if v != "" {
			values.Set(name, v)
		}
	}
	values.Set("after", strconv.FormatUint(q.After, 10))
	if q.Limit > 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	var p Page
	if err := c.json(ctx, EntriesPath, values, &p); err != nil {
		return p, nil, err
	}
	_, entries, err := p.Verify(c.Key)
	for _, e := range entries {
		if q.Identity != "" && e.Identity != q.Identity {
			return p, nil, fmt.Errorf("%w: entry %d is about %s, which was not asked for", ErrAnswer, e.Seq, e.Identity)
		}
	}
	return p, entries, err
}

func (c *Client) json(ctx context.Context, path string, values url.Values, out any) error {
	text, err := c.get(ctx, path, values)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAnswer, path, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, values url.Values) ([]byte, error) {
	address := strings.TrimSuffix(c.URL, "/") + path
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the address, which the caller knows
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, enrol.ReadProblem(resp)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("%w: %s: larger than %d bytes", ErrAnswer, path, maxAnswer)
	}
	return text, err
}

// Certificate asks for the proof that the issue of a certificate is in the log, and
// verifies it. An error wraps [ErrNotLogged] where the log has no entry for it.
func (c *Client) Certificate(ctx context.Context, cert *x509.Certificate) (Proof, error) {
	page, entries, err := c.Find(ctx, Query{Certificate: CertificateSerial(cert)})
	if err != nil {
		return Proof{}, err
	}
	missing := fmt.Errorf("%w: no entry has the serial number %s", ErrNotLogged, CertificateSerial(cert))
	for i, e := range entries {
		if missing = e.Issued(cert); missing == nil {
			return page.Proof(i), nil
		}
	}
	return Proof{}, missing
}
