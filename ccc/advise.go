package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// The exit codes of commands that ask a control centre, beside those of package cli.
const (
	exitSignedOut = 4
	// exitRefused is for somebody who says no, as with "auerproxy connect".
	exitRefused = 5
	exitMissing = 6
)

// hints say what to do about the usual problems.
var hints = map[client.Code]string{
	client.CodeBadCredentials:     "check --user and the password",
	client.CodeUnauthenticated:    "sign in with: ccc login",
	client.CodeLoginLimited:       "wait some minutes, and check the password",
	client.CodeForbidden:          "the account's roles do not permit it; ask an administrator",
	client.CodeTokenScope:         "the API token does not have the verb that this takes, or nobody's token may do it; sign in with: ccc login",
	client.CodeProofStale:         "prove who you are anew, with: ccc login, or --user",
	client.CodeSecondFactorNeeded: "sign in anew with: ccc login",
	client.CodeSecondFactorEnrol:  "set up a second factor in a browser",
	client.CodeVersion:            "look at it as it is now, and try again",
	client.CodeOffline:            "the PBX is not connected now; try again later",
	client.CodeRateLimited:        "wait a minute",
	client.CodeQuotaOffers:        "wait, or withdraw offers that nobody needs",
	client.CodeRemoteOff:          "the PBX's administrator has to switch remote access on, on its page Switches",
	client.CodeNoTarget:           "the names of targets are on the PBX's page \"Remote access\"",
	client.CodeNotRequester:       "who has asked gets the grant; ask yourself with: ccc remote open",
	client.CodeRemoteOver:         "ask anew with: ccc remote open",
	client.CodeNotToGive:          "nobody gives or takes a role that he does not have; ask an owner",
	client.CodeLastOwner:          "make somebody else an owner first",
}

// advise gives an error its hint and its exit code.
func advise(err error) error { return adviseWith(err, nil) }

// adviseWith is advise, with hints that come first.
func adviseWith(err error, first map[client.Code]string) error {
	if _, done := errors.AsType[*cli.Hint](err); done || err == nil {
		return err
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return &cli.Hint{Err: err, Hint: "the control centre does not answer in time"}
		}
		return err
	}
	hint := first[p.Code]
	if hint == "" {
		hint = hints[p.Code]
	}
	exit := cli.ExitFailed
	switch p.Status {
	case http.StatusUnauthorized:
		exit = exitSignedOut
	case http.StatusForbidden:
		exit = exitRefused
	case http.StatusNotFound:
		exit = exitMissing
	}
	return &cli.Hint{Err: err, Hint: hint, ExitCode: exit}
}
