package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// secretPrefix is how secrets begin where they are written down (Standard Webhooks,
// "Signature scheme").
const secretPrefix = "whsec_"

// secretBytes is how long secrets are.
const secretBytes = 32

func newSecret() string {
	raw := make([]byte, secretBytes)
	_, _ = rand.Read(raw) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(raw)
}

var errSecret = errors.New("webhook: the secret is none")

// Sign gives the signature of a body by a secret as it is written down.
func Sign(secret, id string, at time.Time, body string) (string, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) == 0 {
		return "", errSecret
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}

// The purposes that secrets are sealed for.
const (
	purposeSecret   = "webhook secret"
	purposePrevious = "webhook previous secret"
)

// NewSecret gives a secret, and as it is kept for a webhook.
func (s *Service) NewSecret(id store.WebhookID) (secret string, sealed []byte, err error) {
	secret = newSecret()
	sealed, err = s.cfg.Keys.Seal(purposeSecret, string(id), []byte(secret))
	return secret, sealed, err
}

// Rotate gives a webhook a new secret; the one that it had is good besides for a while.
func (s *Service) Rotate(w *store.Webhook, now time.Time) (secret string, err error) {
	old, err := s.cfg.Keys.Open(purposeSecret, string(w.ID), w.SecretSealed)
	if err != nil {
		return "", err
	}
	if w.PreviousSealed, err = s.cfg.Keys.Seal(purposePrevious, string(w.ID), old); err != nil {
		return "", err
	}
	w.PreviousUntil = new(now.Add(s.cfg.SecretOverlap))
	secret, w.SecretSealed, err = s.NewSecret(w.ID)
	return secret, err
}

// signatures gives those of all secrets that are good now.
func (s *Service) signatures(w store.Webhook, d store.Delivery, now time.Time) (string, error) {
	secret, err := s.cfg.Keys.Open(purposeSecret, string(w.ID), w.SecretSealed)
	if err != nil {
		return "", err
	}
	all, err := Sign(string(secret), string(d.ID), now, d.Body)
	if err != nil || len(w.PreviousSealed) == 0 || w.PreviousUntil == nil || !now.Before(*w.PreviousUntil) {
		return all, err
	}
	old, err := s.cfg.Keys.Open(purposePrevious, string(w.ID), w.PreviousSealed)
	if err != nil {
		return "", err
	}
	also, err := Sign(string(old), string(d.ID), now, d.Body)
	return all + " " + also, err
}
