// Package presencepb holds the messages of a presence stream, generated from
// presence.proto by `make proto`. Package presence frames and checks them.
package presencepb
