// Package signin has the test of signing in with a real browser: password and app, passkey
// of a virtual authenticator, and recovery code, at a control centre whose policy demands
// a second factor.
package signin
