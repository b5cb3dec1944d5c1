// Package enrol is an endpoint's side of the PKI: it holds the endpoint's
// credentials, gets the first ones, and renews them while the program runs.
//
// A device, a relay or a service does:
//
//	creds, err := enrol.LoadCredentials(dir)          // every later start
//	creds, err := client.Enrol(ctx, token)            // the first start
//	err = creds.Save(dir)
//	go client.RunRenewal(ctx, creds, dir, enrol.Renewal{})
//	cfg := creds.ServerConfig(check, "auerproxy/1")   // or ClientConfig
//
// The key is made on the endpoint and never leaves it. [Credentials.ServerConfig]
// and [Credentials.ClientConfig] are the only two builders of a tls.Config for
// mutual TLS in the cloud: TLS 1.3, our own roots, and a check of the peer's
// identity that also runs when a session resumes.
//
// The roots are from the PKI's trust bundle ([Bundle]), which RunRenewal keeps up to
// date. A root that is new is believed only where one that is trusted already has
// certified it.
// A device may also have its first certificate for a factory certificate
// ([Client.EnrolFactory]) or a factory secret ([Client.EnrolSecret]); the loop then
// falls back to what there is when the certificate has expired. A [Clock] makes it
// independent of its own clock.
//
// On disk, credentials are three PEM files in one directory: cert.pem (leaf,
// intermediate, cross certificates), key.pem (PKCS #8, mode 0600) and roots.pem, with
// the bundle's version in bundle-version. They are written as one generation that a single rename makes current; see
// [Credentials.Save].
//
// The package is covered by the compatibility promise in the README. It links
// the standard library, pki/identity and hclog only, because devices carry it.
package enrol
