package account

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Provider is an OpenID provider where the people of one tenant sign in.
type Provider struct {
	// ID names it in addresses: small letters, digits and '-'. Required.
	ID string `yaml:"id"`
	// Name is on the button. Required.
	Name string `yaml:"name"`
	// Tenant is the id of the tenant whose users sign in there. Required.
	Tenant store.TenantID `yaml:"tenant"`
	// Issuer is the provider's URL, as it is in its tokens; https, or http on this machine.
	// Required.
	Issuer string `yaml:"issuer"`
	// ClientID and ClientSecretFile are what the provider has given for this server, whose
	// redirect URI is external_url + "/oidc". Without a file it is a public client.
	ClientID         string             `yaml:"client_id"`
	ClientSecretFile configs.SecretFile `yaml:"client_secret_file"`
	// Scopes that are asked for beside openid. Default: email and profile.
	Scopes []string `yaml:"scopes"`
	// EmailDomains are those of the people who may sign in. Default: any, which is good
	// without just_in_time only.
	EmailDomains []string `yaml:"email_domains"`
	// JustInTime has an account be made for who signs in for the first time. Otherwise he
	// has to be invited.
	JustInTime bool `yaml:"just_in_time"`
	// Roles says which of them a claim gives.
	Roles ProviderRoles `yaml:"roles"`
	// Ceiling are the only roles that the provider can give; an owner's it never can.
	// Default: none.
	Ceiling []store.Role `yaml:"ceiling"`
	// DefaultRoles are those of an account that is made just in time, whatever the claim
	// says. They have to be below the ceiling.
	DefaultRoles []store.Role `yaml:"default_roles"`
	// SecondFactor: own, which is this server's, or provider: what it says in amr or acr
	// (OpenID Connect Core §2) counts. Default: own.
	SecondFactor SecondFactorOf `yaml:"second_factor"`
	// AMR and ACR are the values that say that there was a second factor; one of them is
	// enough. Needed with second_factor: provider.
	AMR []string `yaml:"amr"`
	ACR []string `yaml:"acr"`
}

// ProviderRoles makes roles of a claim.
type ProviderRoles struct {
	// Claim of the ID token: a text or a list of texts. Empty: no claim gives any role.
	Claim string `yaml:"claim"`
	// Map has the role for a value. The roles in it follow the claim at each sign-in, for
	// accounts that were made just in time; others that somebody gave stay.
	Map map[string]store.Role `yaml:"map"`
}

// SecondFactorOf says whose second factor counts.
type SecondFactorOf string

// Whose.
const (
	OwnFactor      SecondFactorOf = "own"
	ProviderFactor SecondFactorOf = "provider"
)

var providerID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// validate checks a provider; each error names the key in it.
func (p Provider) validate() error {
	var all []error
	check := func(ok bool, key, problem string) {
		if !ok {
			all = append(all, errors.New(key+" "+problem))
		}
	}
	check(providerID.MatchString(p.ID), "id", "is not of small letters, digits and -")
	check(strings.TrimSpace(p.Name) != "", "name", "is missing")
	check(p.Tenant != "", "tenant", "is missing: the id of a tenant")
	check(p.ClientID != "", "client_id", "is missing")
	u, err := url.Parse(p.Issuer)
	check(err == nil && u.Host != "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http" && configs.IsLoopback(u.Hostname())), "issuer", "is not an https URL, as in https://id.example.com")
	check(!p.JustInTime || len(p.EmailDomains) > 0, "email_domains", "is missing: with just_in_time it says whose accounts are made")
	for _, d := range p.EmailDomains {
		check(d != "" && d == strings.ToLower(d) && !strings.ContainsAny(d, "@ *"), "email_domains", "has "+d+", which is not a domain in small letters")
	}
	for _, r := range slices.Concat(p.Ceiling, p.DefaultRoles, mapped(p.Roles.Map)) {
		check(slices.Contains(store.Roles(), r), "ceiling, default_roles or roles.map", "has the unknown role "+string(r))
		check(r != store.RoleOwner, "ceiling, default_roles or roles.map", "has owner, which no provider gives")
	}
	for _, r := range p.DefaultRoles {
		check(slices.Contains(p.Ceiling, r), "default_roles", "has "+string(r)+", which is not in ceiling")
	}
	check((p.Roles.Claim == "") == (len(p.Roles.Map) == 0), "roles", "needs both claim and map")
	check(p.SecondFactor == "" || p.SecondFactor == OwnFactor || p.SecondFactor == ProviderFactor, "second_factor", "is neither own nor provider")
	check(p.SecondFactor != ProviderFactor || len(p.AMR)+len(p.ACR) > 0, "amr", "and acr are missing: one of them says that there was a second factor")
	return errors.Join(all...)
}

func mapped(m map[string]store.Role) []store.Role {
	var all []store.Role
	for _, r := range m {
		all = append(all, r)
	}
	return all
}

// validateOIDC checks all providers.
func (c Config) validateOIDC() error {
	var all []error
	seen := map[string]bool{}
	for _, p := range c.OIDC {
		if err := p.validate(); err != nil {
			all = append(all, &configs.KeyError{Key: "oidc", Problem: "has the provider " + p.ID + ", whose " + err.Error(), Cause: err})
		}
		if seen[p.ID] {
			all = append(all, &configs.KeyError{Key: "oidc", Problem: "has the provider " + p.ID + " twice"})
		}
		seen[p.ID] = true
	}
	if len(c.OIDC) > 0 && c.ExternalURL == "" {
		all = append(all, &configs.KeyError{Key: "external_url", Problem: "is missing", Hint: "providers send browsers back to it"})
	}
	return errors.Join(all...)
}

// given gives the roles of a claim's values, and those that follow the claim, none of
// them above the ceiling.
func (p Provider) given(values []string) (roles, follow []store.Role) {
	for value, r := range p.Roles.Map {
		if r == store.RoleOwner || !slices.Contains(p.Ceiling, r) {
			continue
		}
		follow = append(follow, r)
		if slices.Contains(values, value) {
			roles = append(roles, r)
		}
	}
	for _, r := range p.DefaultRoles {
		if r != store.RoleOwner && slices.Contains(p.Ceiling, r) {
			roles = append(roles, r)
		}
	}
	slices.Sort(roles)
	slices.Sort(follow)
	return slices.Compact(roles), slices.Compact(follow)
}

// lets tells whether an address is of a domain whose people may sign in.
func (p Provider) lets(email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	return len(p.EmailDomains) == 0 || slices.Contains(p.EmailDomains, domain)
}
