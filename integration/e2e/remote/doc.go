// Package remote has the tests of remote access over the whole: relay, PKI, control
// centre, gateway and PBXs as the real programs, with a gateway that ignores every rule,
// with curl, and with a browser. The tests themselves ask and issue grants, with the
// credentials of the control centre.
package remote
