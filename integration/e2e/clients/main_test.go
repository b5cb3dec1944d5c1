package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/integration/programs"
)

// shared is a directory for what all tests of a run use. Set by TestMain before
// the first test.
var shared string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if shared, err = os.MkdirTemp("", "clients-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(shared) }()
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}())
}

// auerproxy gives the path of the program.
func auerproxy(t *testing.T) string {
	t.Helper()
	bin, err := programs.Build("auerproxy")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, "auerproxy")
}

// tool gives the path of a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	// Servers are in sbin, which is not in everybody's PATH.
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is not installed", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// blobSize is the size of a large transfer.
func blobSize() int64 {
	if testing.Short() || raceDetector {
		return smallSize
	}
	return 1 << 30
}

// blob is two files of random bytes, of blobSize and of smallSize, with their
// SHA-256.
type blob struct {
	path, sum           string
	smallPath, smallSum string
}

var makeBlob = sync.OnceValues(func() (blob, error) {
	b := blob{path: filepath.Join(shared, "blob"), smallPath: filepath.Join(shared, "small")}
	random := rand.NewChaCha8([32]byte{1})
	err := errors.Join(
		writeFile(b.path, random, blobSize(), &b.sum),
		writeFile(b.smallPath, random, smallSize, &b.smallSum),
	)
	return b, err
})

func theBlob(t *testing.T) blob {
	t.Helper()
	b, err := makeBlob()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
