// Package clients tests the cloud with programs that nobody here wrote: stock
// clients on the caller's side, stock servers behind the device, and a relay that
// records everything it can read.
//
// Relay and agents run in the test's process with the certificates of a throw-away
// CA; the auerproxy program is built once for all tests. A test needs the Debian
// packages of its programs and is skipped, with the reason, where they are missing:
//
//	curl                 curl, nginx-light
//	SSH                  openssh-client, openssh-server, openssl
//	browser              chromium, libnss3-tools, openssl, nginx-light
//	load                 wrk, nginx-light
//	Prometheus           prometheus, curl
//
// Transfers are of 1 GiB, and of 64 MiB with -short or the race detector.
package clients
