package store

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// CreateSystem adds a system with its tags and groups; its Version is 1, whatever it says.
// ErrConflict "serial" where the tenant has it already, or "id"; ErrNotFound without the
// tenant or one of the groups.
func (t *Tx) CreateSystem(v System) error {
	t.makes(v.Tenant, "system", string(v.ID), v.Serial)
	var c checks
	c.id("ID", string(v.ID))
	c.serial(v.Serial)
	checkState(&c, v.State)
	c.time("Created", v.Created)
	c.time("StateSince", v.StateSince)
	if c.err != nil {
		return c.err
	}
	if err := t.hasPart(v.Tenant, Part{Site: v.Site}); err != nil {
		return err
	}
	v.Tags = sorted(v.Tags)
	_, err := t.exec(`INSERT INTO systems (id, tenant_id, serial, name, name_key, note, search, state, error_code,
		version, created, created_by, state_since, paired, epoch, last_seen, replaces, site_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, $12, $13, $14, $15, $16, $17)`,
		v.ID, v.Tenant, v.Serial, v.Name, sortKey(v.Name), v.Note, searchText(v), v.State, v.ErrorCode,
		v.Created, optional(v.CreatedBy), v.StateSince, moments(v.Paired), v.Epoch, moments(v.LastSeen), optional(v.Replaces), optional(v.Site))
	if err != nil {
		return err
	}
	if err := t.addTags(v.ID, v.Tags); err != nil {
		return err
	}
	groups := make([]GroupID, len(v.Groups))
	for i, g := range v.Groups {
		groups[i] = g.ID
	}
	return t.addGroups(v.Tenant, v.ID, groups)
}

func checkState(c *checks, s State) {
	oneOf(c, "State", s, StateOffered, StateReceived, StateProving, StatePaired, StateLeft, StateExpired, StateDeclined, StateError)
}

func (t *Tx) addTags(id SystemID, tags []string) error {
	for _, tag := range tags {
		if _, err := t.exec("INSERT INTO system_tags (system_id, tag) VALUES ($1, $2)", id, tag); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) addGroups(tenant TenantID, id SystemID, groups []GroupID) error {
	groups = sorted(groups)
	n, err := t.exec(`INSERT INTO system_group_members (system_id, group_id)
		SELECT $1, id FROM system_groups WHERE tenant_id = $2 AND id IN `+t.list("$3"), id, tenant, listOf(groups))
	if err == nil && int(n) != len(groups) {
		err = ErrNotFound
		t.failed = err
	}
	return err
}

const systemColumns = `id, tenant_id, serial, name, note, state, error_code, version, created, created_by, state_since,
	paired, epoch, last_seen, replaces, site_id, maintenance_until`

func scanSystem(s scanner) (v System, err error) { return scanSystemAnd(s) }

// scanSystemAnd reads further columns after those of a system.
func scanSystemAnd(s scanner, more ...any) (v System, err error) {
	var created, stateSince, paired, lastSeen, maintenance moment
	err = s.Scan(append([]any{
		&v.ID, &v.Tenant, &v.Serial, &v.Name, &v.Note, &v.State, &v.ErrorCode, &v.Version, &created,
		&v.CreatedBy, &stateSince, &paired, &v.Epoch, &lastSeen, &v.Replaces, &v.Site, &maintenance,
	}, more...)...)
	v.Created, v.StateSince, v.Paired, v.LastSeen = created.Time, stateSince.Time, paired.pointer(), lastSeen.pointer()
	v.Maintenance = maintenance.pointer()
	return v, err
}

// system adds tags and groups to what a query gives.
func (t *Tx) system(query string, args ...any) (System, error) {
	all, err := t.systems(query, args...)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return System{}, err
	}
	return all[0], nil
}

func (t *Tx) systems(query string, args ...any) ([]System, error) {
	all, err := rows(t, scanSystem, query, args...)
	if err != nil {
		return nil, err
	}
	return all, t.fill(all)
}

// fill adds tags and groups.
func (t *Tx) fill(all []System) error {
	if len(all) == 0 {
		return nil
	}
	at := make(map[SystemID]*System, len(all))
	ids := make([]SystemID, len(all))
	for i := range all {
		all[i].Tags, all[i].Groups = []string{}, []Group{}
		at[all[i].ID], ids[i] = &all[i], all[i].ID
	}
	type none struct{}
	list := listOf(ids)
	_, err := rows(t, func(s scanner) (none, error) {
		var id SystemID
		var tag string
		err := s.Scan(&id, &tag)
		if v := at[id]; v != nil {
			v.Tags = append(v.Tags, tag)
		}
		return none{}, err
	}, "SELECT system_id, tag FROM system_tags WHERE system_id IN "+t.list("$1"), list)
	if err != nil {
		return err
	}
	_, err = rows(t, func(s scanner) (none, error) {
		var id SystemID
		var g Group
		var created moment
		err := s.Scan(&id, &g.ID, &g.Tenant, &g.Name, &created)
		g.Created = created.Time
		if v := at[id]; v != nil {
			v.Groups = append(v.Groups, g)
		}
		return none{}, err
	}, `SELECT system_id, g.id, g.tenant_id, g.name, g.created FROM system_group_members
		JOIN system_groups g ON g.id = group_id WHERE system_id IN `+t.list("$1"), list)
	keys := nameKeys{} // many systems have the same
	for i := range all {
		sortBy(all[i].Tags, keys, func(tag string) string { return tag })
		sortGroups(all[i].Groups, keys)
	}
	return err
}

// System gives a system of the tenant.
func (t *Tx) System(tenant TenantID, id SystemID) (System, error) {
	return t.system("SELECT "+systemColumns+" FROM systems WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// SystemsByID gives those of the tenant's systems that are there, in no order.
func (t *Tx) SystemsByID(tenant TenantID, ids []SystemID) ([]System, error) {
	return t.systems("SELECT "+systemColumns+" FROM systems WHERE tenant_id = $1 AND id IN "+t.list("$2"), tenant, listOf(wellFormedOf(ids)))
}

// CountSystems tells how many systems the tenant has.
func (t *Tx) CountSystems(tenant TenantID) (int, error) {
	return row(t, value[int], "SELECT count(*) FROM systems WHERE tenant_id = $1", tenant)
}

// SystemBySerial gives the tenant's system with the serial.
func (t *Tx) SystemBySerial(tenant TenantID, serial identity.Serial) (System, error) {
	return t.system("SELECT "+systemColumns+" FROM systems WHERE tenant_id = $1 AND serial = $2", tenant, serial)
}

// UpdateSystem changes what a user may change, and gives the system as it is then.
// ErrVersion where the system has another version; 0 takes any. ErrNotFound for a
// group or a site that is not the tenant's.
func (t *Tx) UpdateSystem(tenant TenantID, id SystemID, version int64, fields Fields) (System, error) {
	v, err := t.System(tenant, id)
	if err != nil {
		return System{}, err
	}
	if version != 0 && version != v.Version {
		return System{}, ErrVersion
	}
	if fields.Name != nil {
		v.Name = *fields.Name
	}
	if fields.Note != nil {
		v.Note = *fields.Note
	}
	if fields.Tags != nil {
		v.Tags = sorted(*fields.Tags)
		if _, err := t.exec("DELETE FROM system_tags WHERE system_id = $1", id); err != nil {
			return System{}, err
		}
		if err := t.addTags(id, v.Tags); err != nil {
			return System{}, err
		}
	}
	if fields.Groups != nil {
		if _, err := t.exec("DELETE FROM system_group_members WHERE system_id = $1", id); err != nil {
			return System{}, err
		}
		if err := t.addGroups(tenant, id, *fields.Groups); err != nil {
			return System{}, err
		}
	}
	if fields.Site != nil {
		if err := t.hasPart(tenant, Part{Site: *fields.Site}); err != nil {
			return System{}, err
		}
		v.Site = *fields.Site
	}
	err = t.change(`UPDATE systems SET name = $2, name_key = $3, note = $4, search = $5, site_id = $6, version = version + 1 WHERE id = $1`,
		id, v.Name, sortKey(v.Name), v.Note, searchText(v), optional(v.Site))
	if err != nil {
		return System{}, err
	}
	return t.System(tenant, id)
}

// SetState takes a system from one of the states to another. ErrConflict "state" where it
// is in none of them. Leaving [StatePaired] and [StateProving] for another than these
// makes it unpaired; see [Tx.SetPaired].
func (t *Tx) SetState(tenant TenantID, id SystemID, from []State, to State, errorCode string, at time.Time) error {
	var c checks
	if checkState(&c, to); c.err != nil {
		return c.err
	}
	n, err := t.exec(`UPDATE systems SET state = $3, error_code = $4, state_since = $5,
		paired = CASE WHEN $6 THEN paired ELSE 0 END
		WHERE tenant_id = $1 AND id = $2 AND state IN `+t.list("$7"),
		tenant, id, to, errorCode, at, to == StatePaired || to == StateProving, listOf(from))
	if err != nil || n > 0 {
		return err
	}
	if _, err := row(t, value[string], "SELECT state FROM systems WHERE tenant_id = $1 AND id = $2", tenant, id); err != nil {
		return err
	}
	return &ConflictError{What: "state"}
}

// SetPaired notes since when a system is paired, and the epoch of the ownership.
func (t *Tx) SetPaired(tenant TenantID, id SystemID, epoch uint64, at time.Time) error {
	return t.change("UPDATE systems SET paired = $3, epoch = $4 WHERE tenant_id = $1 AND id = $2", tenant, id, at, epoch)
}

// SetLastSeen notes when a system was online; an earlier time than the one noted
// changes nothing.
func (t *Tx) SetLastSeen(tenant TenantID, id SystemID, at time.Time) error {
	return t.change("UPDATE systems SET last_seen = CASE WHEN last_seen < $3 THEN $3 ELSE last_seen END WHERE tenant_id = $1 AND id = $2",
		tenant, id, at)
}

// SetMaintenance notes until when a system's maintenance is paid; nil: it is not.
func (t *Tx) SetMaintenance(tenant TenantID, id SystemID, until *time.Time) error {
	return t.change("UPDATE systems SET maintenance_until = $3 WHERE tenant_id = $1 AND id = $2", tenant, id, moments(until))
}

// DeleteSystem removes a system with its offers and what was granted for it alone. ErrConflict "pairing" while it is paired.
func (t *Tx) DeleteSystem(tenant TenantID, id SystemID) error {
	paired, err := row(t, value[int64], "SELECT count(*) FROM pairings WHERE tenant_id = $1 AND system_id = $2", tenant, id)
	if err != nil {
		return err
	}
	if paired > 0 {
		return &ConflictError{What: "pairing"}
	}
	t.erased = true
	if err := t.forgetHistory(tenant, id); err != nil {
		return err
	}
	if err := t.change("DELETE FROM systems WHERE tenant_id = $1 AND id = $2", tenant, id); err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM user_grants WHERE system_id = $1", id)
	if err == nil {
		_, err = t.exec("DELETE FROM tenant_grants WHERE tenant_id = $1 AND system_id = $2", tenant, id)
	}
	return err
}

// MoveMeta gives one system of the tenant the name, note, tags, groups, site and roles of
// another, which keeps them but for what other tenants were given.
func (t *Tx) MoveMeta(tenant TenantID, from, to SystemID) error {
	v, err := t.System(tenant, from)
	if err != nil {
		return err
	}
	groups := make([]GroupID, len(v.Groups))
	for i, g := range v.Groups {
		groups[i] = g.ID
	}
	if _, err = t.UpdateSystem(tenant, to, 0, Fields{Name: &v.Name, Note: &v.Note, Tags: &v.Tags, Groups: &groups, Site: &v.Site}); err != nil {
		return err
	}
	if _, err = t.exec(`INSERT INTO user_grants (user_id, role, site_id, system_id)
		SELECT user_id, role, site_id, $2 FROM user_grants WHERE system_id = $1 ON CONFLICT DO NOTHING`, from, to); err != nil {
		return err
	}
	_, err = t.exec("UPDATE tenant_grants SET system_id = $3 WHERE tenant_id = $1 AND system_id = $2", tenant, from, to)
	return err
}

// sorted gives the values sorted, without duplicates.
func sorted[T cmp.Ordered](values []T) []T {
	values = slices.Clone(values)
	slices.Sort(values)
	return slices.Compact(values)
}

// nameKeys keeps the sort keys of names, each of which costs as much as many comparisons.
type nameKeys map[string][]byte

func (k nameKeys) of(name string) []byte {
	key, known := k[name]
	if !known {
		key = sortKey(name)
		k[name] = key
	}
	return key
}

// sortBy sorts as people sort names.
func sortBy[T any](all []T, keys nameKeys, name func(T) string) {
	slices.SortStableFunc(all, func(a, b T) int {
		return cmp.Or(bytes.Compare(keys.of(name(a)), keys.of(name(b))), cmp.Compare(name(a), name(b)))
	})
}

func sortGroups(all []Group, keys nameKeys) {
	sortBy(all, keys, func(g Group) string { return g.Name })
}
