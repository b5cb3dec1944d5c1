package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// commands are the lines that a newcomer can copy and paste. "dev smoke" runs the
// same lines.
type commands struct {
	centre, pbxs, pair, gateway, gatewayCurl, gatewayLogs   string
	curl, curlH1, names, forward, forwarded, proxy, proxied string
	sessions, trace, status, list, revoke, unblock          string
	stopRelay, startRelay                                   string
}

// Ports of the commands that listen.
const (
	forwardAddr = "127.0.0.1:8080"
	proxyAddr   = "127.0.0.1:3128"
)

func newCommands(w *world.World, bin string) (commands, error) {
	dir := w.Dir()
	at := func(parts ...string) string { return quote(filepath.Join(append([]string{dir}, parts...)...)) }
	program := func(name string) string { return quote(filepath.Join(bin, name)) }
	first, last := w.Device(0), w.Device(w.Devices()-1)
	_, port, _ := strings.Cut(w.RelayAddr(0), ":")
	creds := fmt.Sprintf("--relay %s --credentials %s", w.RelayAddr(0), at("services", caller))
	cert, key, roots := at("services", caller, "cert.pem"), at("services", caller, "key.pem"), at("roots.pem")
	curl := fmt.Sprintf("curl -sS --proxy https://%s:%s --proxy-cacert %s --proxy-cert %s --proxy-key %s --cacert %s --cert %s --key %s",
		w.RelayName(0), port, roots, cert, key, roots, cert, key)
	page := "https://" + identity.Device(identity.DefaultTrustDomain, first).DNSName() + "/facts.json"
	pki := program("pki")
	pkiConfig := "--config " + at("pki", "pki.yaml")
	centre, password, err := people(w)
	if err != nil {
		return commands{}, err
	}
	pair := fmt.Sprintf("%s pair %s --url %s --user %s --password-file %s --pbx %s --pbx-password-file %s", program("ccc"),
		w.Device(1), w.Centre().HTTP, w.Centre().Email, quote(w.Centre().PasswordFile), w.PBX(1).URL, quote(w.PBX(1).PasswordFile))
	return commands{
		centre: centre, pbxs: password, pair: pair,
		gateway: w.Gateway().URL, gatewayCurl: fmt.Sprintf("curl -sS --cacert %s %s/", roots, w.Gateway().URL),
		gatewayLogs: fmt.Sprintf("%s logs raw --config %s", program("ara"), at("ara", "ara.yaml")),
		curl:        curl + " " + page,
		curlH1:      curl + " --http1.1 -o /dev/null -w '%{http_code}\\n' " + page,
		names:       fmt.Sprintf("openssl s_client -connect %s -servername %s </dev/null 2>/dev/null | openssl x509 -noout -subject -issuer -dates", w.RelayAddr(0), w.RelayName(0)),
		forward:     fmt.Sprintf("%s connect %s web --listen %s %s", program("auerproxy"), first, forwardAddr, creds),
		forwarded:   "curl -sS http://" + forwardAddr + "/facts.json",
		proxy:       fmt.Sprintf("%s proxy --listen %s %s", program("auerproxy"), proxyAddr, creds),
		proxied:     fmt.Sprintf("curl -sS -x http://%s http://%s/facts.json", proxyAddr, identity.Device(identity.DefaultTrustDomain, first).DNSName()),
		sessions:    fmt.Sprintf("%s sessions --admin %s", program("auerproxy"), quote(w.RelayAdmin(0))),
		trace:       fmt.Sprintf("%s trace %s %s", program("auerproxy"), first, creds),
		status:      fmt.Sprintf("%s status --config %s", program("auer-agent"), at("device-"+string(first), "auer-agent.yaml")),
		list:        fmt.Sprintf("%s list %s", pki, pkiConfig),
		revoke:      fmt.Sprintf("%s block %s --reason lost %s", pki, last, pkiConfig),
		unblock:     fmt.Sprintf("%s unblock %s %s", pki, last, pkiConfig),
		stopRelay:   fmt.Sprintf("kill -9 $(cat %s)", at("relay-1", "pid")),
		startRelay:  fmt.Sprintf("%s serve --config %s", program("auerproxy"), at("relay-1", "auerproxy.yaml")),
	}, nil
}

// people says where people sign in, and with what: at the control centre, and at the
// PBXs.
func people(w *world.World) (centre, pbxs string, err error) {
	c := w.Centre()
	password, err := c.AdminPassword()
	if err != nil {
		return "", "", err
	}
	centre = fmt.Sprintf("%s   or, with the roots in %s trusted, %s\n      %s   %s", c.HTTP, w.Roots(), c.URL, c.Email, password)
	for i := range w.Devices() {
		p := w.PBX(i)
		if p.URL == "" {
			continue
		}
		first, err := p.FirstPassword()
		if err != nil {
			return "", "", err
		}
		pbxs += fmt.Sprintf("  %s  %s   admin   %s\n", w.Device(i), p.URL, first)
	}
	return centre, strings.TrimSuffix(pbxs, "\n"), nil
}

// quote makes a word of a path for the shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (c commands) text() string {
	return fmt.Sprintf(`
Everything runs.

  The control centre, in a browser:
      %s

  The PBXs' own pages (serial, address, user, first password):
%s

  The gateway for remote access to those pages, for a browser that trusts the same roots;
  sessions begin in the control centre:
      %s

To pair one, add its serial in the control centre, and type the token that you get on the
page "CCC" of the PBX. Or try, in another terminal:

  # Pair a PBX without a browser.
  %s

  # A device's page through the relay, with stock curl: HTTP CONNECT with a client
  # certificate, and TLS to the device inside, end to end.
  %s

  # The relay's name that curl used; its certificate came over ACME by itself.
  %s

  # A local port that is the device's web server.
  %s
  %s

  # A local HTTP proxy to all devices, for a browser.
  %s
  %s

  # The gateway's own page, and who has asked for it: addresses are in this log alone,
  # sealed, for 14 days.
  %s
  %s

  # Who is connected; each hop to a device, timed; the device's own view.
  %s
  %s
  %s

  # Certificates; block a device, which cuts its tunnel, and let it in again.
  %s
  %s
  %s

  # Kill the relay, start it again: the devices come back by themselves.
  %s
  %s

Ctrl-C stops everything but a relay that was started by hand.
`, c.centre, c.pbxs, c.gateway, c.pair, c.curl, c.names, c.forward, c.forwarded, c.proxy, c.proxied, c.gatewayCurl, c.gatewayLogs, c.sessions, c.trace, c.status, c.list, c.revoke, c.unblock, c.stopRelay, c.startRelay)
}
