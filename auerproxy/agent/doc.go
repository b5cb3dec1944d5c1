// Package agent is the device's side of the Auerproxy: it dials out, holds the
// tunnel, and answers the calls that come through it. A PBX embeds it; the
// program auer-agent wraps it.
//
//	a, err := agent.New(agent.Config{
//		Credentials: creds,                      // pki/enrol
//		InstanceID:  id,                         // 16 bytes, kept beside the key
//		Relays:      []string{"relay.example.net:7844"},
//		Services:    []agent.Service{{Name: "web", Target: "tcp:127.0.0.1:80"}, {Name: "api"}},
//	})
//	ln, err := a.Listen("api")                   // a service without a target
//	go http.Serve(ln, handler)
//	err = a.Run(ctx)
//
// # Tunnels
//
// Each slot holds one session to a relay. It races QUIC and TCP, says hello on
// the first that connects, and takes it after the welcome. A session that ends
// is replaced after a back-off with full jitter, which starts anew only after a
// session that was stable for a while. A relay that drains (GOAWAY) is left
// before its session ends: the new session is made first, and running calls end
// in the old one.
//
// QUIC is preferred, and TCP used where it serves better: where QUIC does not connect,
// where a heartbeat has no answer, or where it loses one packet in a hundred and TCP,
// when tried, carries a third more. QUIC is tried again at growing intervals. Every
// change makes the new session first, and lets calls finish in the old one.
// [SlotStatus] says what was chosen, why, and by which figures.
//
// # Calls
//
// No call reaches the device's network as plain text: end-to-end TLS ends in the
// agent, which checks the caller's certificate itself and believes the relay
// nothing. The exceptions have to be configured per service: CallerAuth "relay"
// lets callers in that the relay alone has authenticated, Raw does without TLS of
// ours, for protocols that bring their own such as SSH. A call is answered with
// an open-ack after the local target has answered, so that a caller learns by
// number whether the service is unknown, not allowed or down.
//
// A service is a net.Listener ([Agent.Listen]; connections are [Conn]) or is
// forwarded to a local target. The other direction, from the device to a service
// of the data centre, is [Agent.Dial].
//
// The package is covered by the compatibility promise in the README. It links
// neither the relay nor a database nor a metrics server.
package agent
