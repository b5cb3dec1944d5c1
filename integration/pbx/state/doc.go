// Package state is what a PBX remembers: users, settings, switches, pending offers,
// the pairing, and what is still to be told to the control centre. It is one file that
// is always whole, and a state machine whose every step is one write of that file.
//
//	store, err := state.Open(state.Dir(path), first)  // first makes that of a new PBX
//	err = store.Update(func(s *state.State) error { return s.Withdraw(id) })
//	s := store.View()                     // a snapshot; not to be changed
//
// # The file
//
// state.json in the PBX's directory, mode 0600: one JSON object, see [State]. It is
// written to state.json.new, synced, renamed over the old one, and the directory is
// synced. After a crash at any point there is the old file or the new one.
//
// Passwords and tokens are in it as Argon2id hashes only. The device key is there as it
// is: it lets a browser keep its own count of wrong passwords, and nobody sign in.
package state
