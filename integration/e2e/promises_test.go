package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promise is one of the privacy policy, and what shows that it is kept.
type promise struct {
	number, text string
	// tests are "package.Test"; each has a control that would fail it.
	tests []string
	// missing says what is not built yet, where there is nothing to promise.
	missing string
}

// promises are those of the policy, the strictest of its three languages.
var promises = []promise{
	{"P1", "personal data are kept no longer than needed", []string{"ccc/store.TestErased", "ccc/account.TestSweep", "ccc/account.TestNoAddressIsKept"}, ""},
	{"P2", "each collection can be switched off at the PBX", []string{"integration/pbx.TestSettingsAndSwitches", "integration/pbx.TestCallData"}, ""},
	{"P3", "FONtevo is a brand of the same controller", []string{"ccc/api.TestMeta"}, ""},
	{"P4", "CCC manages, controls and monitors", []string{"integration/e2e/pairing.TestBrowser"}, ""},
	{"P5", "the token comes after the serial was saved", []string{"ccc/pairing.TestSave", "ccc/pairing.TestSteps"}, ""},
	{"P6", "the token goes through Auerproxy, end to end encrypted", []string{"integration/e2e/pairing.TestCuriousRelay"}, ""},
	{"P7", "an offer does nothing until its token is typed", []string{"integration/e2e/pairing.TestPairing", "integration/pbx/state.TestTransitions"}, ""},
	{"P8", "the PBX makes a new user, name and password", []string{"integration/e2e/pairing.TestPairing", "integration/pbx/state.TestUsersAfterDissolvingAreThoseBefore"}, ""},
	{"P9", "it returns the user by its certificate", []string{"ccc/pairing.TestThreatOtherCertificate", "ccc/pairing.TestThreatBodySaysSerial"}, ""},
	{"P10", "switched off at the PBX: token, user and password are deleted", []string{"ccc/pairing.TestEveryTriggerEndsTheSame", "integration/e2e/pairing.TestOffline", "integration/e2e/pairing.TestKilled"}, ""},
	{"P11", "a new connection needs the whole set-up", []string{"integration/e2e/pairing.TestPairing", "ccc/pairing.TestThreatReplay"}, ""},
	{"P12", "monitoring values go directly to the monitoring servers", nil, "monitoring"},
	{"P13", "they come by the PBX's certificate", nil, "monitoring"},
	{"P14", "call data are only passed on", nil, "call data in the control centre"},
	{"P15", "call data are stored in the user's computer only", nil, "call data in the control centre"},
	{"P16", "a backup is encrypted with the password of the PBX", nil, "backup"},
	{"P17", "nobody else can look into it", nil, "backup"},
	{"P18", "what is deleted cannot be restored", nil, "backup"},
	{"P19", "backup data take no third path", nil, "backup"},
	{"P20", "the PBX asks for availability by its certificate", nil, "backup"},
	{"P21", "the serial comes from the certificate", []string{"pki/identity.TestFromConnectionStateIgnoresWhatWasNotVerified", "ccc/pairing.TestThreatBodySaysSerial"}, ""},
	{"P22", "remote access is brokered by CCC", []string{"ara/gateway.TestGrants", "ara/gateway.TestGrantIsGoodOnce", "integration/e2e/remote.TestCurl", "integration/e2e/remote.TestRulelessGateway"}, ""},
	{"P23", "log files hold address and time of access", []string{"configs/accesslog.TestClosedSchema", "auerproxy.TestAddressesAreInTheAccessLogOnly", "integration/e2e/remote.TestSilence"}, ""},
	{"P24", "logs are anonymised, the originals gone after 14 days", []string{"configs/accesslog.TestFortyDays", "configs/accesslog.TestTheSecond", "configs/accesslog.TestNoAddressOnDisk", "configs/accesslog.TestAdversary"}, ""},
	{"P25", "the servers stand in Germany", []string{"ccc.TestRegionHasToBeGermany", "auerproxy.TestRegionHasToBeGermany"}, ""},
	{"P26", "data subjects can have information and deletion", nil, "export and deletion of a person's data"},
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)

// tests lists "package.Test" of the whole repository.
func tests(t *testing.T) (all []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			all = append(all, filepath.ToSlash(pkg)+"."+string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unkept complains about promises that no test of all holds.
func unkept(list []promise, all []string) (complaints []string) {
	for _, p := range list {
		if len(p.tests) == 0 && p.missing == "" {
			complaints = append(complaints, p.number+" has no test: "+p.text)
		}
		for _, name := range p.tests {
			if !slices.Contains(all, name) {
				complaints = append(complaints, p.number+" names "+name+", which is not there")
			}
		}
	}
	return complaints
}

// TestPromises: each promise of the privacy policy has tests that hold it, or is about
// something that is not built yet.
func TestPromises(t *testing.T) {
	t.Parallel()
	all := tests(t)
	for _, c := range unkept(promises, all) {
		t.Error(c)
	}
	if len(promises) != 26 {
		t.Errorf("%d promises, the policy has 26", len(promises))
	}
	control := unkept([]promise{{number: "A"}, {number: "B", tests: []string{"ccc.TestNowhere"}}, {number: "C", missing: "x"}}, all)
	if len(control) != 2 {
		t.Errorf("control: %q", control)
	}
}
