package server_test

import "testing"

// TestPostgres runs what listeners do with the store once more, in PostgreSQL; see start.
func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"ACME":                 TestACME,
		"ACMEDevice":           TestACMEDevice,
		"Admin":                TestAdmin,
		"BlockedSubscriber":    TestBlockedSubscriberIsCut,
		"BundleReports":        TestBundleReports,
		"EnrolRenewConfirm":    TestEnrolRenewConfirm,
		"FactoryEnrolment":     TestFactoryEnrolment,
		"Feed":                 TestFeed,
		"ListenersTakeTheirs":  TestListenersTakeTheirOwn,
		"LogByIdentity":        TestLogByIdentity,
		"Reenroll":             TestReenroll,
		"RevocationLinks":      TestRevocationLinks,
		"ResumedSession":       TestResumedSessionOfABlockedDevice,
		"SecretEnrolment":      TestSecretEnrolment,
		"SecretAfterAPowerCut": TestSecretAfterAPowerCut,
		"TokenAfterAPowerCut":  TestTokenAfterAPowerCut,
	} {
		t.Run(name, test)
	}
}
