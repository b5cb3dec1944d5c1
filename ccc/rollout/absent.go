package rollout

import (
	"sync"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// absent are systems that are waited for. Nobody asks for them: it is told who comes.
type absent struct {
	mu     sync.Mutex // guards the rest
	gone   map[identity.Serial]turn
	queued []turn // who is back
}

func (a *absent) add(t turn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone == nil {
		a.gone = map[identity.Serial]turn{}
	}
	a.gone[t.device.Serial] = t
}

// back notes that one of them, if it is one, can be reached.
func (a *absent) back(serial identity.Serial) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, waits := a.gone[serial]
	if waits {
		delete(a.gone, serial)
		a.queued = append(a.queued, t)
	}
	return waits
}

// came gives those that are back, once.
func (a *absent) came() []turn {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.queued
	a.queued = nil
	return all
}

// any tells whether somebody is waited for.
func (a *absent) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.gone)+len(a.queued) > 0
}

func (a *absent) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queued = nil
	clear(a.gone)
}

// serials lists who is waited for.
func (a *absent) serials() []identity.Serial {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]identity.Serial, 0, len(a.gone))
	for s := range a.gone {
		all = append(all, s)
	}
	return all
}
