package relay

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const td = identity.DefaultTrustDomain

var testPolicy = []Rule{
	{Caller: "service/ccc", Target: "device", Services: []string{"*"}},
	{Caller: "service/ara", Target: "device", Services: []string{"web"}, Serials: []string{"01*", "0200000001"}},
	{Caller: "service/helpdesk", Target: "device", Services: []string{"ssh"}, Raw: true},
	{Caller: "device", Target: "service/ccc", Services: []string{"pairing"}, Serials: []string{"01*"}},
	{Caller: "service/ccc", Target: "relay", Services: []string{"presence"}},
	{Caller: "service/ara", Target: "relay", Services: []string{"*"}, Serials: []string{"01*"}},
}

func TestAllow(t *testing.T) {
	t.Parallel()
	ccc, ara, helpdesk, stranger := identity.Service(td, "ccc"), identity.Service(td, "ara"), identity.Service(td, "helpdesk"), identity.Service(td, "stranger")
	mine, other, single := identity.Device(td, "0123456789"), identity.Device(td, "0300000000"), identity.Device(td, "0200000001")
	mux, raw := tunnelpb.Inner_INNER_MUX, tunnelpb.Inner_INNER_RAW
	tests := []struct {
		name           string
		caller, target identity.ID
		service        string
		inner          tunnelpb.Inner
		want           tunnel.Code
	}{
		{"every service by star", ccc, mine, "anything", mux, tunnel.CodeOK},
		{"prefix", ara, mine, "web", mux, tunnel.CodeOK},
		{"whole serial", ara, single, "web", mux, tunnel.CodeOK},
		{"foreign serial looks like an offline one", ara, other, "web", mux, tunnel.CodeNotReachable},
		{"service not in the rule", ara, mine, "ssh", mux, tunnel.CodePolicyDenied},
		{"no rule for the caller", stranger, mine, "web", mux, tunnel.CodePolicyDenied},
		{"raw where the rule says so", helpdesk, mine, "ssh", raw, tunnel.CodeOK},
		{"raw where it does not", ccc, mine, "ssh", raw, tunnel.CodePolicyDenied},
		{"device to service", mine, ccc, "pairing", mux, tunnel.CodeOK},
		{"device outside the rule's serials", other, ccc, "pairing", mux, tunnel.CodeNotReachable},
		{"device to another service", mine, ara, "pairing", mux, tunnel.CodePolicyDenied},
		{"device to device", mine, other, "web", mux, tunnel.CodePolicyDenied},
		{"service to service", ara, ccc, "pairing", mux, tunnel.CodePolicyDenied},
		{"who may watch the relay", ccc, identity.Relay(td, "r1"), "presence", tunnelpb.Inner_INNER_PLAIN, tunnel.CodeOK},
		{"every service of the relay", ara, identity.Relay(td, "r1"), "presence", tunnelpb.Inner_INNER_PLAIN, tunnel.CodeOK},
		{"who may not", helpdesk, identity.Relay(td, "r1"), "presence", tunnelpb.Inner_INNER_PLAIN, tunnel.CodePolicyDenied},
		{"another service of the relay", ccc, identity.Relay(td, "r1"), "web", tunnelpb.Inner_INNER_PLAIN, tunnel.CodePolicyDenied},
		{"a device does not watch", mine, identity.Relay(td, "r1"), "presence", tunnelpb.Inner_INNER_PLAIN, tunnel.CodePolicyDenied},
		{"a relay is no caller", identity.Relay(td, "r1"), mine, "web", mux, tunnel.CodePolicyDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tunnel.CodeOf(allow(testPolicy, tt.caller, tt.target, tt.service, tt.inner)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRuleValidate(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Rule{
		"device to device":  {Caller: "device", Target: "device", Services: []string{"web"}},
		"unknown caller":    {Caller: "everybody", Target: "device", Services: []string{"web"}},
		"star as a target":  {Caller: "service/ccc", Target: "service/*", Services: []string{"web"}},
		"device to relay":   {Caller: "device", Target: "relay", Services: []string{"presence"}},
		"one relay":         {Caller: "service/ccc", Target: "relay/r1", Services: []string{"presence"}},
		"unknown of relay":  {Caller: "service/ccc", Target: "relay", Services: []string{"presence", "web"}},
		"raw to the relay":  {Caller: "service/ccc", Target: "relay", Services: []string{"presence"}, Raw: true},
		"no service":        {Caller: "service/ccc", Target: "device"},
		"serial too short":  {Caller: "service/ccc", Target: "device", Services: []string{"web"}, Serials: []string{"012345678"}},
		"letters in serial": {Caller: "service/ccc", Target: "device", Services: []string{"web"}, Serials: []string{"01a*"}},
	} {
		if r.validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, r := range testPolicy {
		if err := r.validate(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
