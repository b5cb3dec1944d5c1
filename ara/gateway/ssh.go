package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
)

// maxTries is how often somebody may answer wrongly, for each way to sign in.
const maxTries = 3

// errHostKey: the target's key is none of those that the PBX has named.
var errHostKey = errors.New("another host key")

// run is a terminal from the user's name to its end.
func (sh *shell) run() outcome {
	ctx, cancel := context.WithTimeout(sh.ctx, sh.s.g.cfg.Timing.Login)
	defer cancel()
	login, err := sh.await(ctx, "login")
	if err != nil {
		return outcome{reason: "login", text: sh.t.Terminal.Login}
	}
	targets, err := sh.s.pbx.Targets(ctx)
	if err != nil {
		return sh.lost(err)
	}
	if targets.Recording != "" {
		if err := sh.say(said{Type: "recorded"}); err != nil {
			return sh.lost(err)
		}
	}
	client, o := sh.signIn(ctx, login.User, hostKeys(targets.Targets, sh.s.grant.Target))
	if client == nil {
		return o
	}
	defer client.Close()
	inTime := context.AfterFunc(ctx, func() { _ = client.Close() })
	if targets.Recording != "" {
		// Before anything is shown; without it nothing is. Whoever cannot sign in has the
		// PBX store nothing.
		if sh.tape, err = sh.s.record(ctx, targets.Recording, login, sh.unrecorded); err != nil {
			return outcome{reason: "recording", text: sh.t.Terminal.Unrecorded}
		}
		defer func() {
			_ = client.Close() // which has more to show otherwise
			if err := sh.tape.finish(); err != nil {
				sh.s.g.log.Warn("a recording is not at its PBX", "error", err)
			}
		}()
	}
	in, err := sh.begin(client, login)
	switch {
	case !inTime() && sh.ctx.Err() == nil:
		return outcome{reason: "login", text: sh.t.Terminal.Login}
	case err != nil:
		return sh.lost(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- in.Wait() }()
	err = sh.feed(in, ended)
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return outcome{reason: "exit", text: sh.t.Terminal.Exit, code: new(0)}
	case errors.As(err, &exit):
		return outcome{reason: "exit", text: sh.t.Terminal.Exit, code: new(exit.ExitStatus())}
	default:
		return sh.lost(err)
	}
}

// signIn makes the connection. Nil: the outcome says why not.
func (sh *shell) signIn(ctx context.Context, user string, keys []ssh.PublicKey) (*ssh.Client, outcome) {
	conn, err := sh.dialTarget(ctx)
	if err != nil {
		return nil, sh.lost(err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	asked, mismatch := false, false
	cfg := &ssh.ClientConfig{
		User: user,
		Auth: []ssh.AuthMethod{
			ssh.RetryableAuthMethod(ssh.KeyboardInteractive(func(name, instruction string, questions []string, echos []bool) ([]string, error) {
				asked = true
				return sh.ask(ctx, name, instruction, questions, echos)
			}), maxTries),
			ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
				asked = true
				answers, err := sh.ask(ctx, "", "", []string{fmt.Sprintf("%s (%s@%s)", sh.t.Terminal.Password, user, sh.s.grant.Target)}, []bool{false})
				if err != nil {
					return "", err
				}
				return answers[0], nil
			}), maxTries),
		},
		HostKeyAlgorithms: algorithms(keys),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			err := sh.checkKey(ctx, keys, key)
			mismatch = errors.Is(err, errHostKey)
			return err
		},
		ClientVersion: "SSH-2.0-ara",
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, sh.s.grant.Target, cfg)
	switch {
	case err == nil:
		return ssh.NewClient(c, chans, reqs), outcome{}
	case mismatch:
		return nil, outcome{reason: "key", text: sh.t.Terminal.HostKey}
	case asked && sh.ctx.Err() == nil:
		return nil, outcome{reason: "login", text: sh.t.Terminal.Login}
	default:
		_ = conn.Close()
		return nil, sh.lost(err)
	}
}

// hostKeys are those that the PBX names for a target.
func hostKeys(targets []remote.Target, name string) (keys []ssh.PublicKey) {
	for _, t := range targets {
		if t.Name != name {
			continue
		}
		for _, text := range t.HostKeys {
			if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
				keys = append(keys, k)
			}
		}
		if len(keys) == 0 && len(t.HostKeys) > 0 {
			// Keys that nobody can read here are no reason to take any other.
			keys = append(keys, none{})
		}
	}
	return keys
}

// none is a key that no target has.
type none struct{ ssh.PublicKey }

func (none) Marshal() []byte { return nil }
func (none) Type() string    { return "none" }

// algorithms are those of the keys, so that the target shows one of them; nil: all.
func algorithms(keys []ssh.PublicKey) (all []string) {
	for _, k := range keys {
		switch t := k.Type(); t {
		case "none":
			return nil
		case ssh.KeyAlgoRSA:
			all = append(all, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512)
		default:
			all = append(all, t)
		}
	}
	return all
}

// checkKey shows the target's key, and takes it where the PBX has named it. Where the PBX
// names none, the user decides.
func (sh *shell) checkKey(ctx context.Context, keys []ssh.PublicKey, key ssh.PublicKey) error {
	pinned := slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(key.Marshal()) })
	if err := sh.say(said{Type: "key", Algorithm: key.Type(), Fingerprint: ssh.FingerprintSHA256(key), Pinned: pinned}); err != nil {
		return err
	}
	switch {
	case pinned:
		return nil
	case len(keys) > 0:
		return errHostKey
	}
	_, err := sh.await(ctx, "trust")
	return err
}

// ask has the user answer. Nothing of an answer is kept here.
func (sh *shell) ask(ctx context.Context, name, instruction string, questions []string, echos []bool) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	if len(questions) > 16 || len(questions) != len(echos) {
		return nil, errors.New("the target asks too much")
	}
	m := said{Type: "ask", Text: short(joined(name, instruction), 4096)}
	for i, q := range questions {
		m.Prompts = append(m.Prompts, prompt{short(q, 512), echos[i]})
	}
	if err := sh.say(m); err != nil {
		return nil, err
	}
	answer, err := sh.await(ctx, "answer")
	if err != nil {
		return nil, err
	}
	if len(answer.Answers) != len(questions) {
		return nil, errHeard
	}
	return answer.Answers, nil
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n" + b
}

// short cuts a text that is too long to be shown.
func short(s string, most int) string { return s[:min(len(s), most)] }

// begin has the target start a shell in a terminal.
func (sh *shell) begin(client *ssh.Client, size heard) (*shellIn, error) {
	s, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	s.Stdout, s.Stderr = sh, sh
	in, err := s.StdinPipe()
	if err == nil {
		err = s.RequestPty("xterm-256color", size.Rows, size.Columns, ssh.TerminalModes{ssh.ECHO: 1, ssh.IUTF8: 1})
	}
	if err == nil {
		_ = s.Setenv("LANG", "C.UTF-8") // most targets take none
		err = s.Shell()
	}
	if err == nil {
		err = sh.say(said{Type: "ready"})
	}
	return &shellIn{Session: s, keys: in}, err
}

// shellIn is a shell that runs at the target.
type shellIn struct {
	*ssh.Session
	keys io.Writer
}

// feed hands on what is typed, and the size, until the shell has ended.
func (sh *shell) feed(in *shellIn, ended <-chan error) error {
	typed := make(chan []byte)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for b := range typed {
			if _, err := in.keys.Write(b); err != nil {
				return
			}
		}
	}()
	defer func() { close(typed); _ = in.Close(); <-fed }()
	var waits []byte
	for {
		input, next := sh.input, typed
		if waits == nil {
			next = nil
		} else {
			input = nil
		}
		select {
		case err := <-ended:
			return err
		case <-sh.ctx.Done():
			return sh.ctx.Err()
		case <-fed:
			return <-ended
		case m := <-sh.sizes:
			if err := in.WindowChange(m.Rows, m.Columns); err != nil {
				return err
			}
			if sh.tape != nil && sh.tape.resize(m) != nil {
				sh.unrecorded()
			}
		case waits = <-input:
		case next <- waits:
			waits = nil
		}
	}
}
