package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrExposed: a secret file that everybody on the machine can read.
var ErrExposed = errors.New("secret file is readable by everybody")

// errTooLarge: the file is not what a secret looks like.
var errTooLarge = errors.New("larger than 1 MiB")

// maxSecret bounds what Read takes in, so that a wrong path (a device, a log)
// does not fill the memory.
const maxSecret = 1 << 20

// SecretFile is the path of a file that holds a secret: a passphrase, a token, a
// key. It prints as the path; the contents are read only by [SecretFile.Read].
// Relative paths are relative to the process's working directory.
type SecretFile string

// Read gives the file's contents without one trailing newline (LF or CRLF). It refuses a file
// that everybody can read with an error that wraps [ErrExposed]; the group may
// read, as service managers that hand out secrets need that. The file is read
// anew each time, so a rotated secret is seen.
func (s SecretFile) Read() ([]byte, error) {
	f, err := os.Open(string(s))
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	if mode := info.Mode(); mode.Perm()&0o004 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o; run chmod o-rwx on it", ErrExposed, string(s), mode.Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	if len(text) > maxSecret {
		return nil, fmt.Errorf("secret file: %s is %w", string(s), errTooLarge)
	}
	if line, ok := bytes.CutSuffix(text, []byte("\r\n")); ok {
		return line, nil
	}
	return bytes.TrimSuffix(text, []byte("\n")), nil
}
