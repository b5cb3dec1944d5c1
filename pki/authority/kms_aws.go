//go:build awskms

package authority

import _ "go.step.sm/crypto/kms/awskms" // with the SDK of AWS
