package main

import (
	"slices"
	"strings"
	"unicode"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

// commandName is where the command of an operation is: ccc GROUP VERB.
type commandName struct{ group, verb string }

// named are operations whose command has another name than [nameOf] gives.
var named = map[string]commandName{
	"acceptHandover":      {"handovers", "accept"},
	"beginBreakGlass":     {"break-glass", "begin"},
	"createInvitedTenant": {"invited-tenants", "add"},
	"createTenantGrant":   {"grants", "add"},
	"endBreakGlass":       {"break-glass", "end"},
	"endHandover":         {"handovers", "end"},
	"endOtherSessions":    {"sessions", "end-others"},
	"getAccessStatistics": {"statistics", "access"},
	"getFirmware":         {"firmware", "get"},
	"getMeta":             {"server", "show"},
	"getOffer":            {"systems", "offer"},
	"getSession":          {"session", "show"},
	"importSystems":       {"onboarding", "import"},
	"listBreakGlass":      {"break-glass", "list"},
	"listTenantGrants":    {"grants", "list"},
	"makeSheet":           {"onboarding", "tokens"},
	"makeSheetPDF":        {"onboarding", "sheet"},
	"offerHandover":       {"handovers", "offer"},
	"removeTenantGrant":   {"grants", "remove"},
	"renewOffer":          {"systems", "new-offer"},
	"setDefaultFilter":    {"default-filter", "set"},
	"setPassword":         {"account", "set-password"},
	"setLanguage":         {"account", "set-language"},
	"withdrawOffer":       {"systems", "withdraw-offer"},
}

// groups says what the commands of each group are about.
var groups = map[string]string{
	"account":         "One's own account: password, language, second factors",
	"audit":           "The audit log: who did what",
	"break-glass":     "Emergency access of the operator's staff",
	"default-filter":  "The filter that the list of systems begins with",
	"filters":         "Filters of systems that are kept",
	"grants":          "What other organisations are let do here",
	"groups":          "Groups of systems",
	"handovers":       "Systems on their way from one organisation to another",
	"history":         "Why systems are offline, in numbers",
	"invitation":      "The invitation that one has got",
	"invitations":     "People who are invited and have not come yet",
	"invited-tenants": "An organisation whose first owner is invited",
	"onboarding":      "Many systems at once, and their tokens on paper",
	"passkeys":        "One's own passkeys",
	"password-resets": "A new password for a forgotten one",
	"roles":           "What each role permits",
	"rollouts":        "Changes of many systems, ring by ring",
	"server":          "The control centre itself",
	"session":         "Who is signed in",
	"sessions":        "Where one is signed in",
	"sites":           "Places where systems are",
	"statistics":      "Anonymous counts of accesses",
	"systems":         "PBXs: find, add, change, configure, restart",
	"tags":            "Tags of systems",
	"templates":       "Settings that are kept for rollouts",
	"tenants":         "Organisations",
	"tokens":          "One's own API tokens",
	"users":           "People and their roles",
	"webhooks":        "Programs that are told what happens",
}

// byHand are operations that commands written by hand use: which, or why there is none.
var byHand = map[string]string{
	"askRemote": "remote ask", "grantRemote": "remote grant", "endRemote": "remote end",
	"listRemote": "remote list", "listRemoteRecords": "remote list", "getRemote": "remote show", "getRemoteRecord": "remote show",
	"signIn": "login", "prove": "login", "signOut": "logout",
	"streamEvents": "events",
	// Passkeys are in browsers and keys, and not in terminals.
	"beginPasskey": "", "addPasskey": "", "beginPasskeySignIn": "", "signInByPasskey": "",
	// A provider sends a browser back.
	"beginProviderLink": "", "addProviderLink": "",
}

// verbs are the words of commands for those that ids of operations begin with.
var verbs = map[string]string{
	"list": "list", "get": "show", "create": "add", "add": "add", "make": "add", "update": "edit", "change": "edit", "replace": "replace",
	"delete": "remove", "remove": "remove", "new": "new",
}

// nameOf derives the name: the group is the first part of the path, the verb the first
// word of the id, followed by what else the id says.
func nameOf(op client.Operation) commandName {
	if n, ok := named[op.ID]; ok {
		return n
	}
	parts := strings.Split(strings.TrimPrefix(op.Path, "/"), "/")
	group := parts[0]
	if group == "account" && len(parts) > 1 && slices.Contains([]string{"passkeys", "sessions", "tokens"}, parts[1]) {
		group = parts[1]
	}
	words := wordsOf(op.ID)
	verb := words[0]
	if v, ok := verbs[verb]; ok {
		verb = v
	}
	rest := slices.DeleteFunc(words[1:], func(w string) bool { return singular(w) == singular(group) || w == "api" })
	switch {
	case len(rest) == 0:
	case verb == "list" || verb == "show":
		verb = strings.Join(rest, "-")
	default:
		verb += "-" + strings.Join(rest, "-")
	}
	return commandName{group, verb}
}

// wordsOf divides an id at its capitals.
func wordsOf(id string) []string {
	var all []string
	start := 0
	runes := []rune(id)
	for i, r := range runes {
		if i > start && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			all = append(all, strings.ToLower(string(runes[start:i])))
			start = i
		}
	}
	return append(all, strings.ToLower(string(runes[start:])))
}

func singular(word string) string { return strings.TrimSuffix(word, "s") }

// flagOf gives the name of the flag for a field. One that a connection has already gets
// the name of the thing before it: the address of a webhook is --webhook-url.
func flagOf(group, field string) string {
	name := strings.ToLower(strings.ReplaceAll(field, "_", "-"))
	if slices.Contains(connectFlags, name) || slices.Contains([]string{"json", "config", "set", "log-level", "help", "body", "file", "out", "all", "yes"}, name) {
		return singular(group) + "-" + name
	}
	return name
}
