package relay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Rule allows some callers to open some services. Rules only allow; order does
// not matter.
type Rule struct {
	// Caller is "service/<name>", "service/*", or "device" for every device.
	Caller string `yaml:"caller"`
	// Target is "device" for devices, "service/<name>", or "relay" for the relay
	// itself, which only services open.
	Target string `yaml:"target"`
	// Services are the names of the services; "*" is every one. The relay has one,
	// "presence": who may open it is told which devices are connected, and each
	// change, never an address.
	Services []string `yaml:"services"`
	// Serials bound the devices of the rule (the target's, the caller's where devices
	// call, and with presence those of which is told): whole serials, or a prefix
	// followed by '*'. Empty: all.
	Serials []string `yaml:"serials"`
	// Raw also allows streams without end-to-end TLS of ours, e.g. for SSH.
	Raw bool `yaml:"raw"`
}

func (r Rule) validate() error {
	switch {
	case r.Caller != "device" && !isServicePath(r.Caller, true):
		return fmt.Errorf(`caller %q, want "device", "service/<name>" or "service/*"`, r.Caller)
	case r.Target != "device" && r.Target != targetRelay && !isServicePath(r.Target, false):
		return fmt.Errorf(`target %q, want "device", "relay" or "service/<name>"`, r.Target)
	case r.Caller == "device" && r.Target == "device":
		return fmt.Errorf("a device never opens a stream to a device")
	case r.Caller == "device" && r.Target == targetRelay:
		return fmt.Errorf("a device never opens a stream to the relay")
	case len(r.Services) == 0:
		return fmt.Errorf("services is empty")
	case r.Target == targetRelay && r.Raw:
		return fmt.Errorf("raw is for devices and services; the relay has no such streams")
	}
	if r.Target == targetRelay {
		for _, s := range r.Services {
			if s != presence.Service && s != "*" {
				return fmt.Errorf("service %q, the relay has only %q", s, presence.Service)
			}
		}
	}
	return patterns(r.Serials).validate()
}

// targetRelay is the target of a rule about the relay itself.
const targetRelay = "relay"

func isServicePath(s string, star bool) bool {
	name, ok := strings.CutPrefix(s, "service/")
	if !ok {
		return false
	}
	if star && name == "*" {
		return true
	}
	return identity.Service(identity.DefaultTrustDomain, name).Validate() == nil
}

// patterns match serials: whole ones and prefixes. Nil matches every serial.
type patterns []string

func (p patterns) validate() error {
	for _, s := range p {
		digits, star := strings.CutSuffix(s, "*")
		if !star && len(s) != identity.SerialLen || len(digits) > identity.SerialLen || strings.Trim(digits, "0123456789") != "" {
			return fmt.Errorf("serial pattern %q, want %d digits or a prefix followed by '*'", s, identity.SerialLen)
		}
	}
	return nil
}

func (p patterns) match(s identity.Serial) bool {
	if len(p) == 0 {
		return true
	}
	return slices.ContainsFunc(p, func(pat string) bool {
		prefix, star := strings.CutSuffix(pat, "*")
		return pat == string(s) || star && strings.HasPrefix(string(s), prefix)
	})
}

// allow decides whether caller may open service on target. A caller that may
// open the service on other devices gets [tunnel.CodeNotReachable] for a serial
// that is not its own, the same answer as for one that is unknown or offline.
func allow(rules []Rule, caller, target identity.ID, service string, inner tunnelpb.Inner) error {
	denied := true
	for _, r := range rules {
		if !r.admits(caller, target, service) || inner == tunnelpb.Inner_INNER_RAW && !r.Raw {
			continue
		}
		denied = false
		device := target
		if caller.Kind == identity.KindDevice {
			device = caller
		}
		if device.Kind != identity.KindDevice || patterns(r.Serials).match(device.Serial()) {
			return nil
		}
	}
	if denied {
		return tunnel.Errorf(tunnel.CodePolicyDenied, "%s may not open %q on a %s", caller.Path(), service, target.Kind)
	}
	return errNotReachable
}

// admits reports whether the rule is about the caller, the kind of target, and the
// service.
func (r Rule) admits(caller, target identity.ID, service string) bool {
	return r.namesCaller(caller) && r.namesTarget(target) &&
		(slices.Contains(r.Services, service) || slices.Contains(r.Services, "*"))
}

// errNotReachable is one value, so that unknown, offline and foreign devices
// cannot be told apart.
var errNotReachable = &tunnel.Error{Code: tunnel.CodeNotReachable}

func (r Rule) namesCaller(id identity.ID) bool {
	switch id.Kind {
	case identity.KindDevice:
		return r.Caller == "device"
	case identity.KindService:
		return r.Caller == id.Path() || r.Caller == "service/*"
	default:
		return false
	}
}

func (r Rule) namesTarget(id identity.ID) bool {
	switch id.Kind {
	case identity.KindDevice:
		return r.Target == "device"
	case identity.KindRelay:
		return r.Target == targetRelay
	default:
		return r.Target == id.Path()
	}
}
