package load

import (
	"errors"
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

func TestSerialsFollowFromTheSeed(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	serials := func(seed uint64, n int) []identity.Serial {
		list, err := FromCA(ca, seed).Serials(n)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	a := serials(1, 20_000)
	if !slices.Equal(a[:50], serials(1, 50)) {
		t.Error("the same seed gives other serials")
	}
	if slices.Equal(a[:50], serials(2, 50)) {
		t.Error("another seed gives the same serials")
	}
	for _, s := range a {
		if _, err := identity.ParseSerial(string(s)); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(a)
	if n := len(slices.Compact(a)); n != 20_000 {
		t.Errorf("%d different serials, want 20000", n)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	ca, dir := pkitest.New(t, td), t.TempDir()
	made := FromCA(ca, 1)
	service := identity.Service(td, CallerName)
	if err := WriteDir(dir, made, 5, service); err != nil {
		t.Fatal(err)
	}
	read := FromDir(dir, td)
	want, _ := made.Serials(5)
	slices.Sort(want)
	got, err := read.Serials(5)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("serials %v, %v, want %v", got, err, want)
	}
	for _, id := range []identity.ID{service, identity.Device(td, got[0])} {
		c, err := read.Credentials(id)
		if err != nil || c.ID() != id || !c.Roots()[0].Equal(ca.Root) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := read.Serials(6); !errors.Is(err, ErrTooFew) {
		t.Errorf("6 of 5: %v, want %v", err, ErrTooFew)
	}
	if _, err := read.Credentials(identity.Service(td, "other")); err == nil {
		t.Error("a service that is not there has credentials")
	}
	if _, err := FromDir(t.TempDir(), td).Serials(1); !errors.Is(err, ErrTooFew) {
		t.Errorf("an empty directory: %v, want %v", err, ErrTooFew)
	}
}

func TestInstanceIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range uint64(3) {
		for i := range uint64(1000) {
			id := string(instanceID(seed, i))
			if seen[id] || id != string(instanceID(seed, i)) || len(id) != 16 {
				t.Fatalf("instance id %x of seed %d, device %d", id, seed, i)
			}
			seen[id] = true
		}
	}
}
