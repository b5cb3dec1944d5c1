package enrol

import "context"

// ACMEPath gives a device over mutual TLS an [ACMEKey]; no body, 201.
const ACMEPath = "/v1/acme"

// ACMEKey is what a device opens its account at an ACME server with: an external account
// binding (RFC 8555 §7.3.4), good once, and for an account that orders the device's own
// name only.
type ACMEKey struct {
	// KeyID names the key.
	KeyID string `json:"key_id"`
	// HMACKey is the key, in base64url without padding. Secret.
	HMACKey string `json:"hmac_key"`
	// Directory is where the ACME server says that it is.
	Directory string `json:"directory"`
}

// ACMEKey asks for a key with the credentials of a device.
func (c *Client) ACMEKey(ctx context.Context, creds *Credentials) (key ACMEKey, err error) {
	return key, c.post(ctx, c.mutual(creds), creds, ACMEPath, nil, &key)
}
