// Package history writes down when each paired PBX was online, and why it was not.
//
//	r, err := history.New(history.Config{Store: db, Fleet: presence})
//	go r.Run(ctx)
//	i, ok := r.Now("0123456789")     // the interval that lasts
//
// # Intervals
//
// The time of a PBX is divided into intervals, in each of which it was online over one
// relay and one transport, or offline for one [Reason], or in quarantine. They belong to
// the serial and the epoch of the ownership, so that a new owner sees none of those before.
// Of the round trips that a relay tells, an interval has how many there were, their sum, the
// least and the most; one that is an hour old ends where they become twice or half as long.
// No address is known here.
//
// # Reasons
//
// Why a PBX is offline is first what its relay says of the end of its last session. One that
// ended without a farewell is Lost, which is provisional: whether it was the network or the
// power is settled when the PBX is back, by whether its program was started anew since.
//
//	end of the session                         offline         back with the     and with
//	                                                           same start        another one
//	silent, broken, reset by a new start       lost            network           power
//	farewell of the PBX                        shutdown        shutdown          restart
//	                                                                             (in RestartWithin)
//	drain, or the relay stopped                relay_drain     —                 —
//	relay not heard of any more                relay_lost      —                 —
//	blocked, expired, replaced, kicked, …      that reason     —                 —
//	two holders at once (quarantine)           clone           —                 —
//
// A PBX that is offline for longer than the certificate of its last session is good has the
// reason certificate_expired: it will not be let in again before it is enrolled anew.
//
// Of a PBX that does not say when it was started, lost becomes unknown. One that comes back
// with a new start before it was missed has an interval without length, for the restart. A
// relay that was lost and tells, when it is back, that the PBX was there all the time turns
// what was offline into online.
//
// # Flapping
//
// More than Config.Flaps changes within an hour become one interval, which counts them and
// how long the PBX was online. It ends when there were no more than half of that in an hour.
//
// # Cost
//
// What changes is written together, [Config.Batch] intervals in a transaction, a second
// after the first of them: a relay of 10,000 PBXs that restarts costs some forty
// transactions. While the store does not answer, what is to be written waits; of each
// interval only the newest.
//
// # Restarts
//
// Every half a minute, and when it ends, the program writes that it was there. When it
// starts, an interval goes on where the session that a relay tells is older than that. Where
// not, it ends at that moment with the reason unknown, and the time until the program knew
// more is in no interval. A PBX that was offline before and is so afterwards was offline.
package history
