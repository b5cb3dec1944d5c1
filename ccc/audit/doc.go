// Package audit is the form of the audit log: what an entry is, how entries are chained,
// and how a chain is looked through. The entries are kept by ccc/store, which makes each
// in the transaction of what it tells of.
//
//	check := audit.NewChecker(audit.Genesis(tenant))
//	for each line { fault := check.Add(line) }
//
// # Entries
//
// An entry says who did what, to what, by what right and how it ended. It has ids, times,
// names of fields and codes, and no text that anybody has typed: the values of the fields
// are of forms that no name, address, e-mail address or secret has (see [Entry.Validate]).
//
// The canonical form of an entry is JSON after RFC 8785: the keys in order, nothing
// between the tokens, and only printable ASCII without quotes and backslashes in the
// strings, so that nothing is ever escaped. Version 1 has these keys:
//
//	access     microseconds since 1970 that the access log has the access under, or ""
//	actor      "user ID", "token ID", "provider ID" (OpenID), "device SERIAL", "ccc" or "nobody"
//	at         RFC 3339 in UTC with milliseconds, never before that of the entry before
//	fields     names of what was given, sorted; of "oidc.…" the roles
//	home       tenant of the user
//	operation  of the API, or "pbx.…", "remote.…", "oidc.…", "cli.…" and "event.…"
//	outcome    "done", "refused:CODE" or "failed:CODE"
//	prev       hash of the entry before
//	resource   "KIND ID", "KIND" or ""
//	right      "home", "grant ID", "break_glass ID" or ""
//	seq        number in the tenant's chain, from 1, without gaps
//	serial     of the PBX
//	tenant     whose chain it is; "-" of those who are not known
//	user       whose rights were used
//	v          1
//
// Who is refused again and again does not fill the log: the first of it has an entry at
// once, and what is the same in a while after that is counted and has one together. It has
// one key more, after prev, and version 2:
//
//	repeats    how often the same was refused, or has failed, again
//
// # Chain
//
// The hash of an entry is SHA-256 over "ccc-audit-1 entry\n" and its canonical form. As that
// has the hash of the entry before, a hash stands for all before it. The first entry has
// SHA-256 over "ccc-audit-1 genesis\n" and the tenant's id as prev: the chain of one
// tenant never passes for that of another, and can be looked through without it.
//
// What was removed from the end cannot be seen in what is left. That is what heads are
// for: number and hash of the last entry, signed by service/ccc ([SignHead]). Who keeps a
// head finds that entries up to it were changed or removed later.
//
// # Exports
//
// An export is JSON lines of three kinds: first where it begins, with a head of what is
// not in it any more, if there was any; then the entries; last a head.
//
//	{"audit":1,"tenant":"…","after":0,"hash":"…","head":""}
//	{"entry":{…},"hash":"…"}
//	{"head":"eyJ…"}
//
// [Verify] reads one.
package audit
