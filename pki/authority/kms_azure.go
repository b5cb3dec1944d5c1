//go:build azurekms

package authority

import _ "go.step.sm/crypto/kms/azurekms" // with the SDK of Azure
