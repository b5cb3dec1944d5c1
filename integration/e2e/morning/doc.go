// Package morning is a reseller's morning in a real browser, with the whole cloud behind
// it: relay, PKI, control centre and PBXs as processes of the real programs. He signs in
// with a passkey, finds the three PBXs that are offline and why, adds twenty from a list,
// changes the NTP server at one site after a dry run, hands a PBX over, and reads the
// audit log. With AUER_TEST_SCREENSHOTS each step leaves a picture in that directory.
package morning
