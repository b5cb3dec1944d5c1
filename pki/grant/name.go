package grant

import "github.com/comtrexx-cloud/comtrexx/pki/identity"

// PBXName is the one DNS name that a PBX has below a domain, in sessions of the service
// [TLS]: "s<serial>.<domain>".
func PBXName(serial identity.Serial, domain string) string {
	return "s" + string(serial) + "." + domain
}
