package wire

import (
	"context"
	"fmt"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// CCC is the control centre as a PBX talks to it. Errors are [*Problem], or of the
// connection; see [Temporary].
type CCC struct {
	// HTTP makes the requests; see [HTTPClient]. Its connections lead to service/ccc.
	HTTP *http.Client
	// MaxBody bounds bodies both ways, in bytes. Zero means [DefaultMaxBody].
	MaxBody int64
}

// Complete gives the signed [Ack].
func (c CCC) Complete(ctx context.Context, m Complete) (string, error) {
	if err := m.check(); err != nil {
		return "", fmt.Errorf("%s: %w", PathComplete, err)
	}
	b, err := call[AckBody](ctx, c.HTTP, c.MaxBody, PathComplete, m.reveal())
	return b.Ack, err
}

// Declined gives an offer back.
func (c CCC) Declined(ctx context.Context, m Declined) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("%s: %w", PathDeclined, err)
	}
	_, err := post(ctx, c.HTTP, c.MaxBody, PathDeclined, m)
	return err
}

// Sync tells the CCC what the PBX has.
func (c CCC) Sync(ctx context.Context, m Sync) (SyncReply, error) {
	if err := m.check(); err != nil {
		return SyncReply{}, fmt.Errorf("%s: %w", PathSync, err)
	}
	return call[SyncReply](ctx, c.HTTP, c.MaxBody, PathSync, m)
}

// RemoteReport tells the CCC how a remote access stands. A [CodeUnknownSession] means
// that it need not hear of it again.
func (c CCC) RemoteReport(ctx context.Context, m RemoteReport) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("%s: %w", PathRemoteReport, err)
	}
	_, err := post(ctx, c.HTTP, c.MaxBody, PathRemoteReport, m)
	return err
}

// PBX is a PBX as the control centre talks to it. Errors are [*Problem], or of the
// connection; see [Temporary].
type PBX struct {
	// HTTP makes the requests; see [HTTPClient]. Its connections lead to one device.
	HTTP *http.Client
	// MaxBody bounds bodies both ways, in bytes. Zero means [DefaultMaxBody].
	MaxBody int64
}

// Offer delivers a signed [Offer] and gives the signed [Received].
func (p PBX) Offer(ctx context.Context, offer string) (string, error) {
	b, err := call[ReceivedBody](ctx, p.HTTP, p.MaxBody, PathOffer, OfferBody{Offer: offer})
	return b.Received, err
}

// Withdraw makes the PBX forget an offer.
func (p PBX) Withdraw(ctx context.Context, offer OfferID) error {
	_, err := post(ctx, p.HTTP, p.MaxBody, PathWithdraw, Withdraw{Offer: offer})
	return err
}

// Dissolve delivers a signed [Tombstone] and gives the PBX's own.
func (p PBX) Dissolve(ctx context.Context, tombstone string) (string, error) {
	b, err := call[TombstoneBody](ctx, p.HTTP, p.MaxBody, PathDissolve, TombstoneBody{Tombstone: tombstone})
	return b.Tombstone, err
}

// Remote delivers a signed [Remote] and gives the state that the session is in then.
func (p PBX) Remote(ctx context.Context, request string) (grant.State, error) {
	b, err := call[RemoteTaken](ctx, p.HTTP, p.MaxBody, PathRemote, RemoteBody{Request: request})
	return b.State, err
}

// RemoteEnd makes the PBX end a remote access, or forget the request for it.
func (p PBX) RemoteEnd(ctx context.Context, m RemoteEnd) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("%s: %w", PathRemoteEnd, err)
	}
	_, err := post(ctx, p.HTTP, p.MaxBody, PathRemoteEnd, m)
	return err
}

// call posts and reads an answer that has a body.
func call[Out checker](ctx context.Context, client *http.Client, maxBody int64, path string, in any) (Out, error) {
	var out Out
	answer, err := post(ctx, client, maxBody, path, in)
	if err != nil {
		return out, err
	}
	if err := read(answer, &out); err != nil {
		return out, fmt.Errorf("%s: answer: %w", path, err)
	}
	return out, nil
}
