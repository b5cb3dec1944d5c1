// Package webhook tells programs of a tenant what happens in it: it sends what
// store.Tx.Announce has put into the database, in the transaction of what it tells, to the
// addresses that the tenant has named.
//
//	s, err := webhook.New(webhook.Config{Store: db, Keys: keys})
//	err = s.Run(ctx)
//
// # What is sent
//
// A POST with a body of JSON: id, type (a store.Topic), version, at, tenant_id and data. Data
// has ids and words alone, those that store.Topic.Fields lists: no name, address or number
// of anybody. It is signed as Standard Webhooks says (https://www.standardwebhooks.com),
// with the headers webhook-id, webhook-timestamp and webhook-signature: v1, and the
// HMAC-SHA256 of id, timestamp and body with dots between, in base64. While an old secret is
// good besides the new one there are two signatures.
//
// # How it is sent
//
// At least once, and in no particular order; the id stays the same. An answer of 2xx is
// taken as received. After any other it is tried again, after a random time that is up to
// twice as long each time (full jitter), for Config.RetryFor. 410 disables the webhook.
// After Config.BreakAfter failures in a row the receiver is left alone for
// Config.BreakFor, and is then tried with one delivery: until that is received the others
// wait. What is on its way at once is shared among tenants and their receivers, so that those
// that hang hold up no other.
//
// # Where it is sent
//
// To public addresses only: what the name resolves to is looked at when the connection is
// made, so that no name that changes its mind leads inside. Config.AllowNetworks lets
// networks in. Redirections are not followed, and no proxy is used that the environment
// names. Of an answer only the status is kept, and of a failure one of [Failures]; a name
// that leads inside looks like one that there is not.
package webhook
