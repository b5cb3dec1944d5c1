package remote

import "testing"

// TestThreatNoSecondFactor: whoever has given the password alone does not ask, and does not
// get in where he had asked with a second factor before.
func TestThreatNoSecondFactor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	half := s.a
	half.Factor = false
	_, err := s.Ask(t.Context(), half, s.sys, web)
	want(t, "without a second factor", err, CodeSecondFactor)
	if asked := len(s.pbx.asked); asked != 0 {
		t.Fatalf("the PBX was asked %d times", asked)
	}
	r := s.active()
	if asked := len(s.pbx.asked); asked != 1 {
		t.Errorf("positive control: the PBX was asked %d times", asked)
	}
	_, err = s.Grant(t.Context(), half, s.sys, r.ID, someLabel, someBrowser)
	want(t, "a grant without a second factor", err, CodeSecondFactor)
	_, err = s.Grant(t.Context(), s.a, s.sys, r.ID, someLabel, someBrowser)
	want(t, "positive control: with one", err, "")
	// To end it nothing more is needed.
	want(t, "the end", s.End(t.Context(), half, s.sys, r.ID), "")
}

// TestSecondFactorIsOptional: an operator can do without.
func TestSecondFactorIsOptional(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) { c.RequireSecondFactor = new(false) })
	half := s.a
	half.Factor = false
	_, err := s.Ask(t.Context(), half, s.sys, web)
	want(t, "without a second factor", err, "")
}
