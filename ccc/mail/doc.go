// Package mail sends the mails of the control centre: invitations and what is about
// passwords.
//
//	out, err := mail.New(mail.Config{Server: "mail.example.net:587", From: "ccc@example.net", Store: db, Keys: keys})
//	go out.Run(ctx)
//	err = db.Update(ctx, func(tx *store.Tx) error {
//		…
//		_, err := out.Queue(tx, mail.Message{Kind: mail.Invitation, To: email, …})
//		return err
//	})
//
// # Outbox
//
// A mail is queued in the transaction that makes what it tells of, so that there is none
// of the two without the other. All that is in it is sealed, and is erased once it is
// sent or given up. What the server refuses for now (RFC 5321 §4.2.1, 4yz), or where it
// does not answer, is tried again, later from one time to the next; what it refuses (5yz)
// is given up. A process that ends while it sends leaves the mail to be sent once more
// after a while. It has the same Message-ID then, as nothing else can be done about the
// moment between the server's answer and the note that it came.
//
// # Turns
//
// How many are sent in an hour is bounded, of all tenants and of each. Mails about passwords
// come before invitations, and a part of the bound is theirs alone. Of the tenants whose
// mails wait, that one comes first of which the fewest were sent, so that one that has queued
// very many waits for itself. What is withdrawn while it waits is not sent.
//
// # Contents
//
// Texts are in German, English and French, as plain text and as HTML that loads nothing.
// The one link is that of the control centre. Names that people gave are cut to one line
// and made such that no reader makes a link of them. The log has ids and codes, and no
// address.
package mail
