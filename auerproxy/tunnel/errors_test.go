package tunnel_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

var update = flag.Bool("update", false, "write errors.md and testdata anew")

// causes says, per code, what is most often behind it. With the texts of Codes it
// makes the runbook in errors.md.
var causes = map[tunnel.Code]string{
	tunnel.CodeProtocol:           "Two programs that do not fit together, a peer that is no tunnel at all, or a defect in one of them.",
	tunnel.CodeVersion:            "One side is so old that the other has dropped its version.",
	tunnel.CodeMessageTooLarge:    "A defective or hostile peer, or bytes of another protocol read as a length.",
	tunnel.CodeHandshakeTimeout:   "Loss on the path, an overloaded relay, or a peer that hangs before its hello or welcome.",
	tunnel.CodeInternal:           "A defect, or a lack of memory, files or disk on the answering side. The cause is in its log only.",
	tunnel.CodeCertificateMissing: "The endpoint is not enrolled yet, or its configuration names no certificate.",
	tunnel.CodeCertificateExpired: "The renewal failed for a long time, the endpoint was off for a long time, or a clock is wrong.",
	tunnel.CodeUnknownAuthority:   "The certificate is of another installation, or a trust bundle is out of date after a change of the root.",
	tunnel.CodeCertificateRefused: "TLS says no more than this: the serial is blocked, the kind of endpoint is not allowed here, or the names in the certificate contradict each other.",
	tunnel.CodeBlocked:            "The certificate or the endpoint was revoked; a live session is cut with this code.",
	tunnel.CodeRoleRefused:        "The certificate of a service on a device, or the other way round.",
	tunnel.CodeCloneSuspected:     "A certificate and its key were copied to a second machine while the first is connected.",
	tunnel.CodeQuarantined:        "A copied disk image: two machines with one certificate replaced each other in turn.",
	tunnel.CodeRelayUntrusted:     "A wrong address, an interception of TLS on the way, or a trust bundle of another installation.",
	tunnel.CodeReplaced:           "The endpoint was restarted or changed its network, and came back before the old session was seen to be dead.",
	tunnel.CodeDraining:           "An update or a stop of the relay that was announced.",
	tunnel.CodeTryLater:           "Many endpoints connect at once, e.g. after an outage.",
	tunnel.CodeHeartbeatLost:      "The line is down, a NAT or a firewall forgot the flow, or the peer lost its power.",
	tunnel.CodeShutdown:           "The program on the other side was stopped or restarted.",
	tunnel.CodeKicked:             "The operator's command to close a session.",
	tunnel.CodeIdle:               "A pooled session that nobody needed.",
	tunnel.CodeUnreachable:        "A wrong address, a relay that is down, or a firewall that lets neither UDP nor TCP out.",
	tunnel.CodeNotReachable:       "The device is off or has no line. A foreign or unknown serial gives the same answer on purpose.",
	tunnel.CodePolicyDenied:       "No line of the policy table matches the caller, the service and the target.",
	tunnel.CodeRefusedByDevice:    "The device's own configuration does not list the caller for this service.",
	tunnel.CodeServiceUnknown:     "A misspelt service, or one that is not configured on this device.",
	tunnel.CodeTargetUnreachable:  "The local server behind the service does not run, or listens on another address.",
	tunnel.CodeTooManyStreams:     "Calls that are not closed, or more callers than the limit foresees.",
	tunnel.CodeRateLimited:        "A caller that repeats without a pause.",
	tunnel.CodeOpenTimeout:        "Loss on the path to the device, or a local target that accepts slowly.",
	tunnel.CodeHopLimit:           "Routes that are out of date while a device moves from relay to relay.",
	tunnel.CodeTunnelGone:         "The device or the relay lost its session in just this moment.",
	tunnel.CodeReset:              "The program at the other end gave the stream up.",
	tunnel.CodeSlowReader:         "A program that stopped reading, or a line much slower than the sender.",
	tunnel.CodeStreamIdle:         "A program that forgot its connection, or a protocol with long pauses.",
	tunnel.CodeSessionLost:        "The line broke, or one side was restarted; the session's own error says which.",
	tunnel.CodeCancelled:          "The caller closed its connection or its time was over.",
}

// document renders errors.md.
func document() []byte {
	var b bytes.Buffer
	b.WriteString("# Error numbers\n\n" +
		"Made from `Codes()` by `go test ./auerproxy/tunnel -run TestErrorsDocument -update`; do not edit.\n\n" +
		"Numbers are append-only. \"Retry\" says that no byte of the call reached the device, so that a caller\n" +
		"may try again, or elsewhere, on its own. HTTP is the status that a CONNECT caller sees.\n\n" +
		"| number | name | meaning | retry | HTTP |\n|---|---|---|---|---|\n")
	for _, c := range tunnel.Codes() {
		retry := "no"
		if c.Retryable {
			retry = "yes"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %d |\n", c.Code, c.Name, c.Text, retry, c.HTTPStatus)
	}
	b.WriteString("\n## Runbook\n")
	for _, c := range tunnel.Codes() {
		if c.Code == tunnel.CodeOK {
			continue
		}
		fmt.Fprintf(&b, "\n### %s %s\n\nMeaning: %s. Likely cause: %s What to do: %s.\n", c.Code, c.Name, c.Text, causes[c.Code], c.Hint)
	}
	return b.Bytes()
}

func TestErrorsDocument(t *testing.T) {
	t.Parallel()
	want := document()
	if *update {
		if err := os.WriteFile("errors.md", want, 0o644); err != nil { //nolint:gosec // a document for everybody
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("errors.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("errors.md is out of date; run the test with -update")
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	names := make(map[string]tunnel.Code)
	var last tunnel.Code
	for i, c := range tunnel.Codes() {
		if i > 0 && c.Code <= last {
			t.Errorf("%s follows %s", c.Code, last)
		}
		last = c.Code
		if other, taken := names[c.Name]; taken || c.Name == "" {
			t.Errorf("%s: the name %q is empty or that of %s", c.Code, c.Name, other)
		}
		names[c.Name] = c.Code
		if c.Text == "" || c.HTTPStatus == 0 {
			t.Errorf("%s lacks a text or an HTTP status", c.Code)
		}
		if c.Code != tunnel.CodeOK && (c.Hint == "" || causes[c.Code] == "") {
			t.Errorf("%s lacks a hint or a cause", c.Code)
		}
	}
	if extra := len(causes) - (len(names) - 1); extra > 0 {
		t.Errorf("%d causes belong to no code", extra)
	}
}
