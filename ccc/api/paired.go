package api

import (
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// place is the system that a PBX is paired as.
type place struct {
	tenant store.TenantID
	system store.SystemID
}

// paired knows which PBX is paired as what, so that presence, which comes by serial, is
// told to whom it concerns without asking the store. Nobody else learns whether a
// serial is online.
type paired struct {
	mu       sync.RWMutex // guards the fields below
	places   map[identity.Serial]place
	serials  map[store.SystemID]identity.Serial
	byTenant map[store.TenantID]map[identity.Serial]struct{}
}

func newPaired() *paired {
	p := &paired{}
	p.clear()
	return p
}

// clear, with mu held or before the first use, forgets all.
func (p *paired) clear() {
	p.places = map[identity.Serial]place{}
	p.serials = map[store.SystemID]identity.Serial{}
	p.byTenant = map[store.TenantID]map[identity.Serial]struct{}{}
}

// replace takes the pairings that there are in place of those that were known.
func (p *paired) replace(all []store.Paired) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	for _, one := range all {
		p.add(one)
	}
}

// set notes what one system is paired with now; nil: nothing.
func (p *paired) set(system store.SystemID, now *store.Paired) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if serial, there := p.serials[system]; there {
		p.remove(serial)
	}
	if now != nil {
		p.remove(now.Serial) // of a pairing that ended without a word
		p.add(*now)
	}
}

// add, with mu held.
func (p *paired) add(one store.Paired) {
	p.places[one.Serial] = place{one.Tenant, one.System}
	p.serials[one.System] = one.Serial
	if p.byTenant[one.Tenant] == nil {
		p.byTenant[one.Tenant] = map[identity.Serial]struct{}{}
	}
	p.byTenant[one.Tenant][one.Serial] = struct{}{}
}

// remove, with mu held.
func (p *paired) remove(serial identity.Serial) {
	at, there := p.places[serial]
	if !there {
		return
	}
	delete(p.places, serial)
	delete(p.serials, at.system)
	delete(p.byTenant[at.tenant], serial)
	if len(p.byTenant[at.tenant]) == 0 {
		delete(p.byTenant, at.tenant)
	}
}

// all gives every PBX that is paired.
func (p *paired) all() map[place]identity.Serial {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make(map[place]identity.Serial, len(p.places))
	for serial, at := range p.places {
		all[at] = serial
	}
	return all
}

// find gives the system that a PBX is paired as.
func (p *paired) find(serial identity.Serial) (place, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	at, there := p.places[serial]
	return at, there
}

// each gives the serials of a tenant's paired PBXs that the function says yes to.
func (p *paired) each(tenant store.TenantID, is func(identity.Serial) bool) []identity.Serial {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := []identity.Serial{}
	for serial := range p.byTenant[tenant] {
		if is(serial) {
			all = append(all, serial)
		}
	}
	return all
}

// within gives the serials of a tenant's paired PBXs that are among some systems; nil: all.
func (p *paired) within(tenant store.TenantID, only map[store.SystemID]struct{}) []identity.Serial {
	return p.each(tenant, func(serial identity.Serial) bool {
		_, among := only[p.places[serial].system]
		return among || only == nil
	})
}
