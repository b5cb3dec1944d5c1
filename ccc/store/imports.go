package store

import (
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// SystemsBySerial gives those of the tenant's systems that have one of the serials, in no
// order.
func (t *Tx) SystemsBySerial(tenant TenantID, serials []identity.Serial) ([]System, error) {
	return t.systems("SELECT "+systemColumns+" FROM systems WHERE tenant_id = $1 AND serial IN "+t.list("$2"), tenant, listOf(serials))
}

// OpenOffersOf gives the offers of some of the tenant's systems that can be completed, in
// no order.
func (t *Tx) OpenOffersOf(tenant TenantID, systems []SystemID) ([]Offer, error) {
	return t.offers("tenant_id = $1 AND state IN "+open+" AND system_id IN "+t.list("$2"), tenant, listOf(wellFormedOf(systems)))
}

// SetSheet notes when a sheet with the tokens of some of the tenant's offers was made, and
// tells how many of them there are.
func (t *Tx) SetSheet(tenant TenantID, offers []OfferID, at time.Time) (int, error) {
	return t.sweep("UPDATE offers SET sheet = $3 WHERE tenant_id = $1 AND id IN "+t.list("$2"), tenant, listOf(wellFormedOf(offers)), at)
}

// sitesLike gives for each word the sites of the tenant that have it in their name. It is
// looked for here, as [fold] is none of the engines'.
func (t *Tx) sitesLike(tenant TenantID, query string) (map[string][]SiteID, error) {
	words := strings.Fields(fold(query))
	if len(words) == 0 {
		return nil, nil
	}
	type named struct {
		id   SiteID
		name string
	}
	all, err := rows(t, func(s scanner) (v named, err error) {
		err = s.Scan(&v.id, &v.name)
		return v, err
	}, "SELECT id, name FROM sites WHERE tenant_id = $1", tenant)
	found := map[string][]SiteID{}
	for _, v := range all {
		name := fold(v.name)
		for _, w := range words {
			if strings.Contains(name, w) {
				found[w] = append(found[w], v.id)
			}
		}
	}
	return found, err
}
