// Package onboarding has the test of adding many PBXs with a real browser: lists of 20 and
// of 500 lines with faults among them, once more the same list, tokens to print and as a
// PDF, and a filter that is kept.
package onboarding
