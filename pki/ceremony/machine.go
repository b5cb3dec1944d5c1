package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"runtime"
	"strings"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Machine is where a step took place.
type Machine struct {
	Host   string `json:"host"`
	User   string `json:"user"`
	System string `json:"system"` // operating system, architecture, Go version
	// Program is the version of the running program, and ProgramSHA256 the hash
	// of its file.
	Program       string `json:"program"`
	ProgramSHA256 string `json:"program_sha256"`
	// Network lists the interfaces that are up, loopback left out. On an offline
	// machine there is none.
	Network []string `json:"network"`
}

// Offline tells whether the machine has no network.
func (m Machine) Offline() bool { return len(m.Network) == 0 }

func (m Machine) network() string {
	if m.Offline() {
		return "none: no interface but loopback is up"
	}
	return "UP: " + strings.Join(m.Network, ", ")
}

// ThisMachine describes the machine and the running program.
func ThisMachine() (Machine, error) {
	host, err := os.Hostname()
	m := Machine{Host: host, Program: configs.Version(), System: runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version(), Network: []string{}}
	if u, userErr := user.Current(); userErr == nil {
		m.User = u.Username
	}
	var readErr error
	m.ProgramSHA256, readErr = programHash()
	interfaces, netErr := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			m.Network = append(m.Network, i.Name)
		}
	}
	return m, errors.Join(err, readErr, netErr)
}

// programHash reads the file of the running program, once: a ceremony has several steps.
var programHash = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
})

// Entropy tells where crypto/rand takes its randomness from here. A statement of the
// operator, e.g. about a hardware source, is added.
func Entropy(statement string) string {
	text := "the operating system's generator"
	if runtime.GOOS == "linux" {
		text = "getrandom(2), the generator of the Linux kernel, which waits until it is seeded"
		if rng := firstLine("/sys/class/misc/hw_random/rng_current"); rng != "" && rng != "none" {
			text += fmt.Sprintf("; hardware source %s", rng)
		}
	}
	if statement != "" {
		text += "; operator: " + statement
	}
	return text
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "" // no such source
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}
