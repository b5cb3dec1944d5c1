package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// profile is what "ccc login" keeps: where a control centre is, and what lets one in
// there. It is a file that only its owner reads.
type profile struct {
	URL    string `json:"url"`
	CA     string `json:"ca_file,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	User   string `json:"user,omitempty"`
	// One of both lets in: an API token, or the cookies of a session.
	Token   string   `json:"token,omitempty"`
	Cookies []cookie `json:"cookies,omitempty"`
}

type cookie struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const defaultProfile = "default"

var profileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// profileFile gives where a profile is: in the user's directory for configuration
// ($XDG_CONFIG_HOME, else ~/.config).
func profileFile(name string) (string, error) {
	if !profileName.MatchString(name) {
		return "", &cli.Hint{Err: fmt.Errorf("--profile: %q is not a name of a profile", name), Hint: "letters, digits, dots and dashes", ExitCode: cli.ExitUsage}
	}
	dir, err := profileDir()
	return filepath.Join(dir, name+".json"), err
}

func profileDir() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "comtrexx", "ccc"), err
}

// errNoProfile: nobody has signed in under this name.
var errNoProfile = errors.New("there is no profile of this name")

// loadProfile reads a profile. It is refused where others could read it.
func loadProfile(name string) (profile, error) {
	var p profile
	file, err := profileFile(name)
	if err != nil {
		return p, err
	}
	text, err := configs.SecretFile(file).Read()
	if errors.Is(err, fs.ErrNotExist) {
		return p, errNoProfile
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, fmt.Errorf("profile %s: %w", name, err)
	}
	return p, nil
}

// save writes the profile. A crash leaves the old one or the new one.
func (p profile) save(name string) (err error) {
	file, err := profileFile(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".profile-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(append(text, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// profiles gives the names of all.
func profiles() ([]string, error) {
	dir, err := profileDir()
	if err != nil {
		return nil, err
	}
	all, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := []string{}
	for _, e := range all {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && profileName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// keep puts the cookies of a jar into the profile.
func (p *profile) keep(all []*http.Cookie) {
	p.Cookies = nil
	for _, c := range all {
		p.Cookies = append(p.Cookies, cookie{c.Name, c.Value})
	}
}

// chosenProfile is the name that is meant.
func chosenProfile(flag string) string {
	return cmp.Or(flag, os.Getenv("CCC_PROFILE"), defaultProfile)
}
