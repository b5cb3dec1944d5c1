// Package remote decides in a PBX about remote access to it: nobody is let in unless the
// PBX's administrator consents, there and now, and nobody stays longer than he has said.
// Neither the control centre (CCC) nor the gateway (ARA) can consent, extend or go on.
//
//	m, err := remote.Open(remote.Config{Disk: disk, Policy: policy, …})
//	state, err := m.Take(request)                // of the CCC, its signature verified
//	err = m.Allow(request.Session, time.Hour)    // the administrator, in the local network
//	s, err := m.Admit(purpose, grant.Web, cut)   // each call of the gateway
//	s.Count(n, 0); s.Close()
//	m.End(request.Session, grant.CauseAdmin)     // s is cut
//	q, ok := m.NextReport()                      // for the CCC; then m.Told(q.Seq)
//
// # Consent
//
// There are three ways: to allow a request that is pending, to tell the user a PIN, or
// the standing setting [Policy].Always. Time runs from the consent on, by the monotonic
// clock; more of it needs another consent, also with the standing setting. A request that
// nobody answers expires. After a restart no session goes on.
//
// # Order
//
// A consent is on the disk before anybody is let in, so that no session goes unreported.
// An end cuts first and is written then, so that a disk that is slow or full keeps nobody
// in. A crash between the two is an end by restart. Bytes are written each
// [Limits].Checkpoint: a crash loses the count of those since.
//
// # Recordings
//
// Where the administrator has given a public key of age, the gateway records terminals as
// they are shown, seals that to the key while it is made, and hands it over; the last
// [MaxRecordings] are kept for him, and a session that has so many gets no further terminal:
// nobody makes his own recordings go. The PBX cannot read them, and takes none that is not
// sealed, nor any unasked or without an event. What is typed unseen is not in them. Without
// the key there is no recording; terminals and flows of the service ssh that are open when it
// is given are cut.
//
// # The file
//
// remote.json in the PBX's directory: one JSON object with the sessions, the reports that
// the CCC has not acknowledged and the system messages. It is written to remote.json.new,
// synced, and renamed. PINs are in memory only.
package remote
