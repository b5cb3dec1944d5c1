package pbx

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// passwordFile holds the administrator's first password until he changes it, and
// passwordNext the one of a factory reset until that is done.
const (
	passwordFile = "first-password"
	passwordNext = "first-password.next"
)

// firstState is that of a new PBX. The password is written before the state that knows
// it; a crash in between makes another.
func (p *PBX) firstState() (*state.State, error) {
	admin, err := p.newAdministrator(cmp.Or(p.cfg.FirstPassword, password.First()), passwordFile)
	if err != nil {
		return nil, err
	}
	s := &state.State{
		Created: admin.Created, Users: []state.User{admin}, DeviceKey: newDeviceKey(),
		Settings: settings.Default(), SettingsVersion: admin.Created.UnixMilli(), Switches: state.DefaultSwitches,
	}
	if n := p.cfg.CallsPerDay; n != nil {
		s.Settings.CallsPerDay = *n
	}
	return s, nil
}

func newDeviceKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

// newAdministrator makes the administrator and writes his password to the file.
func (p *PBX) newAdministrator(first, file string) (state.User, error) {
	hash, err := p.cfg.Hasher.Hash(context.Background(), first)
	if err != nil {
		return state.User{}, err
	}
	if err := p.disk.Write(file, []byte(first+"\n")); err != nil {
		return state.User{}, fmt.Errorf("first password: %w", err)
	}
	return state.User{Name: state.Administrator, Role: state.RoleAdministrator, Hash: hash, Created: time.Now().UTC()}, nil
}

// settleFirst makes the files of the first password fit the state: after a start, and
// after every change of the administrator's password. Nobody else may change them
// meanwhile, see PBX.first.
func (p *PBX) settleFirst() error {
	admin, _ := p.store.View().User(state.Administrator)
	if admin.Changed {
		return errors.Join(p.disk.Remove(passwordFile), p.disk.Remove(passwordNext))
	}
	next, err := p.disk.Read(passwordNext)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Whether the factory reset came to its end before the crash shows in the state.
	ok, err := p.cfg.Hasher.Compare(context.Background(), strings.TrimSuffix(string(next), "\n"), admin.Hash)
	switch {
	case err != nil:
		return err
	case ok:
		return p.disk.Rename(passwordNext, passwordFile)
	default:
		return p.disk.Remove(passwordNext)
	}
}

// FirstPassword gives the administrator's password as long as it is the first one. It
// is in the file first-password of the state directory, too.
func (p *PBX) FirstPassword() (first string, ok bool) {
	if u, _ := p.store.View().User(state.Administrator); u.Changed {
		return "", false
	}
	text, err := p.disk.Read(passwordFile)
	if err != nil {
		p.log.Warn("first password", "error", err)
		return "", false
	}
	return strings.TrimSuffix(string(text), "\n"), true
}

// FactoryReset dissolves the pairing and brings the PBX back to its first day, with a
// new first password, which it returns. Of several at once, one begins when another
// has ended.
func (p *PBX) FactoryReset(ctx context.Context) (first string, err error) {
	select {
	case p.first <- struct{}{}:
		defer func() { <-p.first }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	first = password.First()
	admin, err := p.newAdministrator(first, passwordNext)
	if err != nil {
		return "", err
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err := p.reset(admin); err != nil {
		return "", err
	}
	if err := p.settleFirst(); err != nil {
		return "", err
	}
	return first, nil
}
