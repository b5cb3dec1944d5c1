package ceremony

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

var update = flag.Bool("update", false, "write the golden file")

// example is a record in which nothing depends on the day or the machine.
func example() *Record {
	at := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	hex := strings.Repeat("0123456789abcdef", 4)
	return &Record{
		Step: "sign", TrustDomain: "comtrexx.test", Time: at,
		Machine: Machine{Host: "vault", User: "root", System: "linux/amd64, go1.26", Program: "v1", ProgramSHA256: hex, Network: []string{}},
		Command: []string{"pki", "ceremony", "sign", "usb"}, Entropy: "dice",
		Keys: []Key{{"root", hex, "ECDSA", "/safe/root.key"}},
		Certificates: []Certificate{{
			File: "device-2.pem", Subject: "CN=Authority device comtrexx.test", Issuer: "CN=Root comtrexx.test", Serial: "2a",
			NotBefore: at, NotAfter: at.AddDate(5, 0, 0), Constraints: []string{"permitted URI host comtrexx.test"}, SPKI: hex, Fingerprint: hex,
		}},
		Files: []File{{"device-2.pem", 977, hex}}, Notes: []string{"safe 7"}, Signatures: []string{"Alice", "Bob"},
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	if err := example().Print(&got); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "page.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	online := example()
	online.Machine.Network = []string{"eth0"}
	got.Reset()
	if err := online.Print(&got); err != nil || !strings.Contains(got.String(), "UP: eth0") || online.Machine.Offline() {
		t.Errorf("a machine with a network: %v\n%s", err, got.String())
	}
}

// The page on paper names the file by its hash.
func TestSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, err := example().Save(dir)
	if err != nil || filepath.Base(path) != "ceremony-sign-20261126T100000Z.txt" {
		t.Fatalf("%s, %v", path, err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(strings.TrimSuffix(path, ".txt") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if !strings.HasSuffix(string(page), hex.EncodeToString(sum[:])+"\n") {
		t.Errorf("the page does not end with the hash of the file:\n%s", page)
	}
	var back Record
	if err := json.Unmarshal(data, &back); err != nil || back.Step != "sign" || back.Certificates[0].Serial != "2a" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	const td = identity.DefaultTrustDomain
	tmpl := profile.Intermediate(td, identity.KindDevice)
	profile.Constrain(tmpl, td, identity.KindDevice, "example.com")
	tmpl.PermittedIPRanges = []*net.IPNet{{IP: net.IPv4(10, 0, 0, 0), Mask: net.CIDRMask(8, 32)}}
	tmpl.ExcludedDNSDomains, tmpl.ExcludedURIDomains = []string{"no.test"}, []string{"nor.test"}
	got := strings.Join(constraints(tmpl), "\n")
	for _, want := range []string{
		"permitted URI host comtrexx.test", "permitted DNS pbx.comtrexx.test", "permitted DNS example.com", "permitted IP 10.0.0.0/8",
		"excluded DNS no.test", "excluded URI host nor.test", "excluded IP ::/0",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	ca := pkitest.New(t, td)
	var r Record
	r.AddRootKey(ca.Root, "here")
	r.AddCertificate("root.pem", ca.Root)
	r.AddKey("device", &x509.CertificateRequest{RawSubjectPublicKeyInfo: ca.Root.RawSubjectPublicKeyInfo, PublicKeyAlgorithm: x509.ECDSA}, "there")
	if r.Keys[0].SPKI != r.Certificates[0].SPKI || r.Keys[1].SPKI != r.Keys[0].SPKI || r.Certificates[0].PathLength != 2 {
		t.Errorf("%+v", r)
	}
	if err := r.AddFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was noted")
	}
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	m, err := ThisMachine()
	if err != nil || m.Host == "" || len(m.ProgramSHA256) != 64 {
		t.Errorf("%+v, %v", m, err)
	}
	if got := Entropy("dice"); !strings.HasSuffix(got, "; operator: dice") {
		t.Error(got)
	}
}
