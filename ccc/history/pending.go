package history

import (
	"maps"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// pending is what is to be written: of each interval the newest.
type pending struct {
	puts  map[store.HistoryID]store.Interval
	drops map[store.HistoryID]struct{}
	// idle are changes that are worth no transaction of their own.
	idle map[store.HistoryID]store.Interval
}

func newPending() *pending {
	return &pending{
		puts: map[store.HistoryID]store.Interval{}, drops: map[store.HistoryID]struct{}{}, idle: map[store.HistoryID]store.Interval{},
	}
}

// put has an interval written soon.
func (p *pending) put(i store.Interval) {
	delete(p.idle, i.ID)
	p.puts[i.ID] = i
}

// later has it written with the next that is not urgent.
func (p *pending) later(i store.Interval) {
	if _, soon := p.puts[i.ID]; soon {
		p.puts[i.ID] = i
		return
	}
	p.idle[i.ID] = i
}

// drop has it removed.
func (p *pending) drop(id store.HistoryID) {
	delete(p.puts, id)
	delete(p.idle, id)
	p.drops[id] = struct{}{}
}

func (p *pending) urgent() bool { return len(p.puts)+len(p.drops) > 0 }

// batch is what is written together.
type batch struct {
	puts  []store.Interval
	drops []store.HistoryID
}

// take gives what waits, with what is not urgent where all is wanted.
func (p *pending) take(all bool) batch {
	if all {
		maps.Copy(p.puts, p.idle)
		clear(p.idle)
	}
	// Ids sort by time: what an interval ended is written before it.
	b := batch{drops: slices.Sorted(maps.Keys(p.drops))}
	for _, id := range slices.Sorted(maps.Keys(p.puts)) {
		b.puts = append(b.puts, p.puts[id])
	}
	clear(p.puts)
	clear(p.drops)
	return b
}

// back takes a batch that was not written; what is newer stays.
func (p *pending) back(b batch) {
	for _, i := range b.puts {
		if _, newer := p.puts[i.ID]; newer {
			continue
		}
		if _, gone := p.drops[i.ID]; gone {
			continue
		}
		if newer, there := p.idle[i.ID]; there {
			i = newer
			delete(p.idle, i.ID)
		}
		p.puts[i.ID] = i
	}
	for _, id := range b.drops {
		p.drops[id] = struct{}{}
	}
}
