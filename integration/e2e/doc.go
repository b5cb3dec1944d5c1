// Package e2e tests the cloud as a whole: PKI, relays, devices and callers, in one
// process and as the real programs, and with clients that nobody here wrote.
package e2e
