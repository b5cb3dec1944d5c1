// Package pairing has the tests of the way from a browser to a PBX and back: a control
// centre, its relays and PBXs as people use them, in one process and as the real
// programs.
package pairing
