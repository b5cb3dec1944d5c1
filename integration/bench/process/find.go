package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Find looks for a program: where an environment variable points, beside this
// program, and in PATH. The path is empty where there is none; a variable that names
// nothing is an error, since "not installed" would hide it.
func Find(variable, name string) (path string, err error) {
	if value := os.Getenv(variable); value != "" {
		if path, err = exec.LookPath(value); err != nil {
			return "", fmt.Errorf("%s: %w", variable, err)
		}
		return path, nil
	}
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	path, err = exec.LookPath(name)
	if err != nil {
		return "", nil //nolint:nilerr // it is not there, which is no error
	}
	return path, nil
}
