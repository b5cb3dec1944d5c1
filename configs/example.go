package configs

import "fmt"

// Examples gives the names of the shipped example files, sorted:
// "auerproxy.yaml". Each is complete and commented, and can be started from.
func Examples() []string {
	entries, err := examples.ReadDir(".")
	if err != nil {
		panic(err) // the directory is part of the program
	}
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	return all
}

// Example gives the text of one shipped example file. An unknown name gives an
// error that wraps fs.ErrNotExist.
func Example(name string) ([]byte, error) {
	text, err := examples.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("example configuration: %w", err)
	}
	return text, nil
}
