// Package tunnelpb holds the tunnel's messages, generated from tunnel.proto by
// `make proto`. Package tunnel frames, checks and sends them.
package tunnelpb
