// Package firmware is the format of a firmware image: a manifest that is signed, and the
// payload that it describes. Who makes an image has the private key; the control centre
// and every PBX know public keys, and take nothing that is not signed by one of them.
//
//	m, err := firmware.Pack(out, payload, firmware.Manifest{Model: "COMtrexx", Version: "2.1.0", Released: "2026-11-26"}, key)
//
//	img, err := firmware.Open(body, keys)     // reads the header, and verifies it
//	_, err = io.Copy(file, img)               // fails at the end where the payload is not the signed one
//
// Nothing but the header is held in memory.
//
// # Layout
//
// Numbers are big-endian.
//
//	offset  bytes  what
//	0       8      magic: "CTXFW", 0x0d, 0x0a, and 0x01, the version of the layout
//	8       8      key id: the first bytes of the SHA-256 of the public key's 32 bytes
//	16      4      length N of the manifest, 1 to 65536
//	20      N      manifest, see [Manifest]
//	20+N    64     Ed25519 signature (RFC 8032) over the bytes 0 to 20+N
//	84+N    size   payload; nothing follows
//
// The manifest is JSON in the canonical form of RFC 8785: members in order, no space, no
// escape that is not needed. Any other form of it is refused, so that there is one image
// for what is signed. The payload is bound by its SHA-256 and size in the manifest: a byte
// that is changed, missing or added anywhere is found.
//
// Keys are files in PEM: PKCS #8 for the private one (RFC 5958), and one or more
// SubjectPublicKeyInfo (RFC 5280) for the public ones, as openssl writes them.
package firmware
