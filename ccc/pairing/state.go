package pairing

import "github.com/comtrexx-cloud/comtrexx/ccc/store"

// step is what takes a system from one state to another.
//
//	            offer                    (in every state but proving and paired)
//	              │
//	              ▼      receive
//	          ┌─────────┐ ─────► ┌──────────┐
//	          │ offered │        │ received │ ◄─┐ receive
//	          └─────────┘        └──────────┘ ──┘
//	              │  │               │  │
//	              │  └───────┬───────┘  │
//	              │          │ complete │
//	              │          ▼          │
//	              │     ┌─────────┐     │       proof    ┌────────┐
//	              │     │ proving │ ────┼──────────────► │ paired │
//	              │     └─────────┘     │                └────────┘
//	              │       │    │        │                    │
//	              │ fail  │    │ dissolve                    │ dissolve
//	              │       │    └────────┼──────────┬─────────┘
//	              │       ▼             │          ▼
//	              │ error(auth)         │        left
//	              │                     │
//	              └──────────┬──────────┘
//	                         │ take, exhaust, decline, expire
//	                         ▼
//	error(taken), error(proof), declined, expired
//
// A new offer takes the place of an open one: offered and received lead to offered, too.
type step string

// The steps.
const (
	stepOffer    step = "offer"    // a user makes a new offer
	stepReceive  step = "receive"  // the PBX has the offer
	stepComplete step = "complete" // the PBX completes it
	stepProve    step = "prove"    // the service has signed in at the PBX
	stepFail     step = "fail"     // the PBX does not let the service in
	stepDissolve step = "dissolve" // the pairing ends
	stepTake     step = "take"     // the PBX completes the offer, but is paired already
	stepExhaust  step = "exhaust"  // too many wrong tokens
	stepDecline  step = "decline"  // the PBX's administrator does not want it
	stepExpire   step = "expire"   // its time is over, or a user withdrew it
)

// target is where a step leads.
type target struct {
	state store.State
	code  string // of StateError
}

// Sets of states that steps start from.
var (
	pending = []store.State{store.StateOffered, store.StateReceived}
	joined  = []store.State{store.StateProving, store.StatePaired}
	idle    = []store.State{store.StateLeft, store.StateExpired, store.StateDeclined, store.StateError}
)

// steps says from where each step starts, and where it leads.
var steps = map[step]struct {
	from []store.State
	to   target
}{
	stepOffer:    {append(append([]store.State{}, idle...), pending...), target{state: store.StateOffered}},
	stepReceive:  {pending, target{state: store.StateReceived}},
	stepComplete: {pending, target{state: store.StateProving}},
	stepProve:    {[]store.State{store.StateProving}, target{state: store.StatePaired}},
	stepFail:     {[]store.State{store.StateProving}, target{store.StateError, ErrorAuth}},
	stepDissolve: {joined, target{state: store.StateLeft}},
	stepTake:     {pending, target{store.StateError, ErrorTaken}},
	stepExhaust:  {pending, target{store.StateError, ErrorProof}},
	stepDecline:  {pending, target{state: store.StateDeclined}},
	stepExpire:   {pending, target{state: store.StateExpired}},
}
