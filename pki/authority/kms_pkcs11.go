//go:build pkcs11 && cgo

package authority

import _ "go.step.sm/crypto/kms/pkcs11" // hardware modules; needs cgo
