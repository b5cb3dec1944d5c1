//go:build cloudkms

package authority

import _ "go.step.sm/crypto/kms/cloudkms" // with the SDK of Google Cloud
