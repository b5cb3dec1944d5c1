package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// checks are what an operator who trusts the PKI with a fleet would try at it, and the
// tests that do. With "+" behind the name, the test runs in a file and in PostgreSQL.
var checks = []promise{
	{"1", "a box with a factory certificate gets the certificate of its serial, exact in every field", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestEnrolFactory+"}, ""},
	{"2", "another serial in the request: refused, and in the audit log", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestRequestsThatClaimOthers+"}, ""},
	{"3", "another common name: refused", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestRequestsThatClaimOthers+"}, ""},
	{"4", "a name, address or URI more: refused", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestRequestsThatClaimOthers+", "pki/authority.FuzzEnrol"}, ""},
	{"5", "a request without names: the serial comes from the evidence", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestRequestsThatClaimOthers+"}, ""},
	{"6", "a bad signature, RSA of 1024 bits: a bad request", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestKeysAndSignatures"}, ""},
	{"7", "a serial that nobody knows, or that is retired: refused", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestRetire+", "pki/authority.TestUnknownSerialsLeaveNothing+"}, ""},
	{"8", "another manufacturer's certificate: no handshake", []string{"pki/server.TestListenersTakeTheirOwn+"}, ""},
	{"9", "a factory certificate where ours are renewed: refused, nothing stored", []string{"pki/server.TestListenersTakeTheirOwn+", "pki/server.TestRoutes", "pki/authority.TestOnlyOwnCertificatesRenew"}, ""},
	{"10", "a self-signed certificate: refused by every listener", []string{"pki/server.TestListenersTakeTheirOwn+", "pki/server.TestHandshakeRefuses", "pki/server.TestRecoveryOfForgeries"}, ""},
	{"11", "a factory certificate, or its CA, that has expired: refused; one until 9999 is good", []string{"pki/server.TestListenersTakeTheirOwn+"}, ""},
	{"12", "a used secret, a sixth wrong try: refused", []string{"pki/server.TestSecretEnrolment+", "pki/authority.TestSecret+", "pki/authority.TestSecretTries"}, ""},
	{"13", "fifty callers with one token or secret: one certificate", []string{"pki/authority.TestTokenWorksOnce+", "pki/authority.TestTokenAgain+", "pki/authority.TestSecretOnce+", "pki/authority.TestOnceOverTwoInstances"}, ""},
	{"14", "a second box with one serial: a conflict, and an alarm", []string{"pki/server.TestFactoryEnrolment+", "pki/authority.TestEnrolFactoryRefusals+", "pki/authority.TestImportedFactoryKey"}, ""},
	{"15", "a leading zero makes another device", []string{"pki/identity.TestLeadingZeroMatters", "pki/authority.TestForeignIdentities", "pki/server.TestFactoryEnrolment+"}, ""},
	{"16", "a renewal, with a new key", []string{"pki/server.TestReenroll+", "pki/authority.TestRenew+", "pki/authority.TestRenewNeedsANewKey"}, ""},
	{"17", "an older generation after its successor was confirmed: refused, a clone is noted", []string{"pki/authority.TestReplayAfterConfirm+", "pki/server.TestEnrolRenewConfirm+"}, ""},
	{"18", "the power goes between issuing and saving: the old one renews", []string{"pki/enrol.TestPowerCutDuringRenewal", "pki/authority.TestLostAnswers+", "pki/server.TestSecretAfterAPowerCut+", "pki/server.TestTokenAfterAPowerCut+"}, ""},
	{"19", "a blocked device does not renew", []string{"pki/server.TestReenroll+", "pki/server.TestEnrolRenewConfirm+", "pki/authority.TestBlock+"}, ""},
	{"20", "expired for 399 days: recovers; for 401, or blocked: refused", []string{"pki/server.TestRecovery", "pki/authority.TestRecover", "pki/server.TestLoopAfterALongTime"}, ""},
	{"21", "a change of the profile comes with the next renewal", []string{"pki/authority.TestProfileChangesComeWithTheNextRenewal"}, ""},
	{"22", "no certificate outlives its issuer", []string{"pki/authority.TestLeafNeverOutlivesItsIssuer", "pki/acmesrv.TestLifeWithinIssuer"}, ""},
	{"23", "a restart of the PKI voids no token", []string{"pki/authority.TestRestartKeepsEverything"}, ""},
	{"24", "one of a hundred tunnels is blocked: it is cut, the others are not", []string{"auerproxy/relay.TestBlockOneOfAHundred", "integration/e2e.TestRevocationCutsALiveTunnel", "integration/e2e.BenchmarkBlockToCut"}, ""},
	{"25", "resumed sessions of a blocked serial: refused", []string{"auerproxy/relay.TestBlockedWhileConnectedIsCutAlsoAfterResumption", "pki/server.TestResumedSessionOfABlockedDevice+", "pki/enrol.TestResumptionDoesNotSkipTheCheck"}, ""},
	{"26", "blocked between handshake and registration: cut", []string{"auerproxy/relay.TestBlockedBetweenHandshakeAndRegistration"}, ""},
	{"27", "the feed is away for a minute, or at the relay's start", []string{"pki/blocks.TestReconnect", "pki/blocks.TestDiskList", "pki/server.TestFeedOverARestart", "integration/e2e.TestRelayComesBack"}, ""},
	{"28", "an epoch from before a restore: refused, an alarm", []string{"pki/blocks.TestRollbackIsRefused", "pki/authority.TestEpochAfterARestore"}, ""},
	{"29", "unblocked: served again", []string{"integration/e2e.TestRevocationCutsALiveTunnel", "auerproxy/relay.TestBlockedWhileConnectedIsCutAlsoAfterResumption"}, ""},
	{"30", "revocation lists have all certificates, and rising numbers, over two instances", []string{"pki/crl.TestConcurrentBlocks", "pki/authority.TestRevocationListOfTwoInstances", "pki/authority.TestRevocationList+"}, ""},
	{"31", "two tunnels with one certificate", []string{"auerproxy/relay.TestClone", "auerproxy/relay.TestCopiedDiskImageIsQuarantined", "auerproxy/relay.TestCloneWatchQuarantinesAlternatingHolders"}, ""},
	{"32", "two generations of one certificate", []string{"pki/authority.TestReplayAfterConfirm+", "pki/authority.TestNewEnrolmentRetires+", "auerproxy/relay.TestClone"}, ""},
	{"33", "two holders of one certificate at two relays", []string{"ccc/fleet.TestRealCopies", "ccc/fleet.TestTwoHolders", "ccc/fleet.TestOneHolder"}, ""},
	{"34", "clocks: a device that is 50 minutes off, or in 1970; a server that steps back", []string{"pki/server.TestDeviceClocks", "pki/server.TestDeviceWithoutAClock", "pki/server.TestServerStepsBack", "auerproxy/cmd/auer-agent.TestTunnelIn1970"}, ""},
	{"35", "a certificate that is not valid yet: refused", []string{"pki/server.TestNotYetValid", "pki/server.TestHandshakeRefuses"}, ""},
	{"36", "a server gets its name without the Internet", []string{"pki/acmesrv.TestServerGetsItsName+", "pki/acmesrv.TestSilent", "pki/server.TestACME+"}, ""},
	{"37", "another role's name: rejectedIdentifier", []string{"pki/acmesrv.TestOtherNames+"}, ""},
	{"38", "no external account binding: no account", []string{"pki/acmesrv.TestAccountBinding+", "pki/acmesrv.TestBindingOnce+"}, ""},
	{"39", "the PKI is away: a server starts with what it has", []string{"pki/acmesrv.TestServerGetsItsName+"}, ""},
	{"40", "nothing is read from standard input, nobody outside is spoken to", []string{"pki/acmesrv.TestSilent", "pki/acmesrv.TestInternalStaysInternal"}, ""},
	{"41", "another intermediate under live tunnels", []string{"integration/e2e.TestRotationUnderALiveTunnel", "pki/server.TestRotationUnderLiveConnections", "pki/authority.TestSwapUnderLoad"}, ""},
	{"42", "another root, and a device that knows the old one only", []string{"integration/e2e.TestRotationUnderALiveTunnel", "pki/authority.TestRootRotation"}, ""},
	{"43", "a revocation list for each intermediate", []string{"pki/crl.TestListOfEachIssuer", "pki/authority.TestIntermediateSwap"}, ""},
	{"44", "no line in the audit log, no certificate", []string{"pki/authority.TestNoAuditNoCertificate+", "pki/acmesrv.TestHookFailsClosed+", "pki/crl.TestNoAuditNoSigner"}, ""},
	{"45", "a second process at one file: an error soon", []string{"pki/authority.TestSecondProcess", "pki/store.TestBoltInUse", "pki.TestScripts"}, ""},
	{"46", "the version of the library that compiles is kept", []string{"integration.TestLayout", "integration.TestRulesComplain"}, ""},
	{"47", "the build without cgo and without the other databases", nil, "a test: make build does it"},
	{"48", "fuzzers for what strangers send", []string{"pki/est.FuzzParseRequest", "pki/server.FuzzBody", "pki/authority.FuzzEnrol", "pki/authority.FuzzReadDevices", "pki/identity.FuzzParseSerial", "pki/enrol.FuzzParseCertificates", "pki/blocks.FuzzParseEvent", "pki/crl.FuzzOCSPRequest", "pki/servercert.FuzzEAB"}, ""},
}

// TestChecks: each check has tests that are there, and those that should run in PostgreSQL
// do.
func TestChecks(t *testing.T) {
	t.Parallel()
	all := tests(t)
	for _, c := range unkept(checks, append(all, inPostgres(t)...)) {
		t.Error(c)
	}
	if len(checks) != 48 {
		t.Errorf("%d checks, want 48", len(checks))
	}
	control := []promise{{number: "A", tests: []string{"pki/server.TestRoutes+", "pki/server.TestReenroll+"}}}
	if got := unkept(control, append(all, inPostgres(t)...)); len(got) != 1 {
		t.Errorf("control: %q", got)
	}
}

var listedTest = regexp.MustCompile(`(?m)^\t+"[\w ]+": +(Test\w+),$`)

// inPostgres lists "package.Test+" for the tests that TestPostgres of their package runs
// once more.
func inPostgres(t *testing.T) (all []string) {
	t.Helper()
	for _, pkg := range []string{"pki/acmesrv", "pki/authority", "pki/server"} {
		text, err := os.ReadFile(filepath.Join("..", "..", pkg, "postgres_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range listedTest.FindAllSubmatch(text, -1) {
			all = append(all, pkg+"."+string(m[1])+"+")
		}
	}
	return all
}
