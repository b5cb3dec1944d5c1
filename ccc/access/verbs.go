package access

import (
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Verb is something that can be done.
type Verb string

// The verbs. There are no others.
const (
	TenantRead      Verb = "tenant.read"       // see the tenant, its sites, groups and tags
	TenantWrite     Verb = "tenant.write"      // change these
	TenantRename    Verb = "tenant.rename"     // call it differently
	TenantCreate    Verb = "tenant.create"     // make tenants below the own one
	UsersRead       Verb = "users.read"        // see users and their roles
	UsersManage     Verb = "users.manage"      // make, change and disable users; remove sites and move systems between them, which rights follow
	GrantsRead      Verb = "grants.read"       // see who was let in, and who broke glass
	GrantsManage    Verb = "grants.manage"     // let other tenants in, and put them out
	BreakGlassBegin Verb = "break_glass.begin" // enter a tenant that has not let one in
	BreakGlassEnd   Verb = "break_glass.end"   // put such a one out
	SystemRead      Verb = "system.read"       // see a system and what happened to it
	SystemWrite     Verb = "system.write"      // change its name, note, tags and groups
	SystemPair      Verb = "system.pair"       // make, see and withdraw offers, replace a PBX
	SystemDelete    Verb = "system.delete"     // remove a system
	SystemHandover  Verb = "system.handover"   // offer a system to another tenant
	HandoverAccept  Verb = "handover.accept"   // take a system that is offered
	RemoteAsk       Verb = "remote.ask"        // ask for remote access and end it
	RemoteRead      Verb = "remote.read"       // see who had it
	MonitoringRead  Verb = "monitoring.read"
	BackupRead      Verb = "backup.read"
	BackupWrite     Verb = "backup.write"
	CallDataRead    Verb = "calldata.read"
	LicencesRead    Verb = "licences.read"
	LicencesWrite   Verb = "licences.write"
	AuditRead       Verb = "audit.read"
	ConfigRead      Verb = "config.read"     // see the settings of PBXs, templates and rollouts
	ConfigWrite     Verb = "config.write"    // change settings, restart PBXs
	FirmwareWrite   Verb = "firmware.write"  // bring firmware to PBXs
	WebhooksRead    Verb = "webhooks.read"   // see where it is told what happens
	WebhooksManage  Verb = "webhooks.manage" // have it told there
)

// rule says who may use a verb.
type rule struct {
	verb  Verb
	roles string // the initials of the roles, see initials
	// granted: another tenant may be let do it, with one of the roles.
	granted bool
	// glass: so may the operator's staff who broke glass.
	glass bool
}

// initials of the roles, in the order of [store.Roles].
const initials = "OAMBCRLU"

// rules is the table of who may do what. What only an owner may, or what lets others in,
// is never granted: it would outlast the grant.
var rules = []rule{
	{TenantRead, "OAMBCRLU", true, true},
	{TenantWrite, "OA", true, false},
	{TenantRename, "OA", false, false},
	{TenantCreate, "OA", false, false},
	{UsersRead, "OAU", false, false},
	{UsersManage, "OA", false, false},
	{GrantsRead, "OAU", false, false},
	{GrantsManage, "O", false, false},
	{BreakGlassBegin, "OA", false, false},
	{BreakGlassEnd, "OA", false, false},
	{SystemRead, "OAMBCRLU", true, true},
	{SystemWrite, "OA", true, true},
	{SystemPair, "OA", true, false},
	{SystemDelete, "O", false, false},
	{SystemHandover, "O", false, false},
	{HandoverAccept, "OA", false, false},
	{RemoteAsk, "OAR", true, true},
	{RemoteRead, "OAMRU", true, true},
	{MonitoringRead, "OAMU", true, true},
	{BackupRead, "OABU", true, false},
	{BackupWrite, "OAB", true, false},
	{CallDataRead, "OAC", true, false},
	{LicencesRead, "OALU", true, true},
	{LicencesWrite, "OAL", true, false},
	{AuditRead, "OAU", true, true},
	{ConfigRead, "OA", true, true},
	{ConfigWrite, "OA", true, false},
	{FirmwareWrite, "OA", true, false},
	{WebhooksRead, "OAU", false, false},
	{WebhooksManage, "OA", false, false},
}

// permission is the set of verbs that something gives, a bit for each rule.
type permission uint64

// Verbs gives all verbs.
func Verbs() []Verb {
	all := make([]Verb, len(rules))
	for i, r := range rules {
		all[i] = r.verb
	}
	return all
}

// of gives the set with one verb; empty for an unknown one.
func of(v Verb) permission {
	for i, r := range rules {
		if r.verb == v {
			return 1 << i
		}
	}
	return 0
}

// where gives the verbs whose rule the function says yes to.
func where(is func(rule) bool) (p permission) {
	for i, r := range rules {
		if is(r) {
			p |= 1 << i
		}
	}
	return p
}

// byRole has the verbs of each role.
var byRole = func() map[store.Role]permission {
	all := map[store.Role]permission{}
	for i, role := range store.Roles() {
		all[role] = where(func(r rule) bool { return strings.Contains(r.roles, initials[i:i+1]) })
	}
	return all
}()

var (
	grantable = where(func(r rule) bool { return r.granted })
	glass     = where(func(r rule) bool { return r.glass })
)

// verbs gives those of a set.
func (p permission) verbs() []Verb {
	return slices.DeleteFunc(Verbs(), func(v Verb) bool { return p&of(v) == 0 })
}

// OfRole gives what a role permits in the own tenant.
func OfRole(role store.Role) []Verb { return byRole[role].verbs() }

// OfGranted gives what a role permits to the users of another tenant that was given it.
func OfGranted(role store.Role) []Verb {
	if role == store.RoleOwner {
		return []Verb{} // it cannot be given
	}
	return (byRole[role] & grantable).verbs()
}

// OfGlass gives what is permitted to who broke glass, as far as his own roles permit it.
func OfGlass() []Verb { return glass.verbs() }

func permissionOf(roles []store.Role) (p permission) {
	for _, r := range roles {
		p |= byRole[r]
	}
	return p
}

// Table gives who may do what as a table in Markdown: a line for each verb, a column for
// each role, and two for who is of another tenant.
func Table() string {
	var b strings.Builder
	b.WriteString("| verb |")
	for _, role := range store.Roles() {
		b.WriteString(" " + string(role) + " |")
	}
	b.WriteString(" grantable | break-glass |\n|---|" + strings.Repeat(":-:|", len(initials)+2) + "\n")
	mark := func(is bool) {
		if is {
			b.WriteString(" x |")
		} else {
			b.WriteString("  |")
		}
	}
	for _, r := range rules {
		b.WriteString("| `" + string(r.verb) + "` |")
		for i := range initials {
			mark(strings.Contains(r.roles, initials[i:i+1]))
		}
		mark(r.granted)
		mark(r.glass)
		b.WriteByte('\n')
	}
	return b.String()
}

// LetsIn tells whether a verb makes users or lets somebody in. Who has it has more than it:
// no token for a program has it.
func LetsIn(v Verb) bool {
	switch v {
	case TenantCreate, UsersManage, GrantsManage, BreakGlassBegin:
		return true
	}
	return false
}

// Known tells whether there is such a verb.
func Known(v Verb) bool { return slices.Contains(Verbs(), v) }
