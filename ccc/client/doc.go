// Package client is the API of the control centre for Go programs. It has a method for
// each operation, made from the API's own description, and needs nothing but the
// standard library.
//
//	c, err := client.New(client.Config{URL: "https://ccc.example.com", Token: token})
//	for s, err := range c.ListSystemsAll(ctx, &client.ListSystemsParams{Online: "false"}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(s.Serial, s.Name)
//	}
//
// # Who asks
//
// With Config.Token the requests carry an API token, which is good for its verbs in its
// tenant. Without, they carry the cookie of the session that [Client.SignIn] and
// [Client.Prove] began, which the client keeps. [Client.In] gives a client for another
// tenant that has let its people in.
//
// # Errors
//
// An answer that is not 2xx is a [*Problem] with a stable [Code]:
//
//	if client.HasCode(err, client.CodeSerialTakenByYou) { … }
//
// # Repeats
//
// What can be repeated without harm is repeated, up to Config.Retries times: requests that
// only read, and those that the server does once for a key (Idempotency-Key), which the
// client makes by itself. It waits for as long as Retry-After says, and otherwise a little
// longer each time. A context ends it.
//
// # Live events
//
// [Client.Events] gives what happens in the tenant as it happens.
//
// # Changes
//
// Optional fields of what a PATCH takes are pointers: nil leaves as it is. System has its
// version, for If-Match: see [ETag].
package client
