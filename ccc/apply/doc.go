// Package apply brings a tenant to what a file in YAML says: its sites, groups, the roles
// of its users, what it grants to others, saved filters and webhooks.
//
//	f, err := apply.Parse(text)
//	p, err := apply.Make(ctx, c, f)
//	fmt.Print(p)              // what would change
//	err = p.Apply(ctx, tell)  // does just that
//
// # The file
//
//	version: 1
//	sites:
//	  prune: true             # others are removed; without, they stay
//	  items:
//	    - name: Braunschweig
//	groups:
//	  items:
//	    - name: North
//	users:                    # of people who have an account
//	  items:
//	    - email: anna@example.com
//	      roles: [administrator, remote@site:Braunschweig]
//	grants:
//	  items:
//	    - tenant: 0199f0a2-…   # whose people are let in
//	      roles: [monitoring]
//	      site: Braunschweig
//	filters:                  # that all in the tenant have
//	  items:
//	    - name: Offline
//	      filter: {online: false}
//	webhooks:                 # secrets are not in the file; new ones are told once
//	  items:
//	    - url: https://example.com/hook
//	      events: [system.offline]
//	templates:                # of settings of PBXs
//	  items:
//	    - name: Time
//	      settings: {ntp_server: ntp.example.com}
//
// What a file does not have is left alone, as are kinds without prune. A key that is not
// known is an error with its line. Contacts for alarms come with the monitoring.
//
// # Which one is meant
//
// Things have their names, users their addresses. Several webhooks can have one address: id
// says which one an item is, and where it does not say it is an error that names them.
// Grants are what they say: one that there is just so is left, another one for the same
// tenant and site is changed, and where that could be several it is an error, too. An item
// that is over is as none.
//
// # What is safe
//
// Applying a file again changes nothing. The one who applies it never takes away his own
// right to do so. What is done is what the plan says: where anything has changed meanwhile,
// Apply stops before it begins, and at the first error afterwards.
package apply
