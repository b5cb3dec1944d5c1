# Build, test and run the COMtrexx cloud. "make help" lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
BIN      := bin
MODULE   := github.com/comtrexx-cloud/comtrexx
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X $(MODULE)/configs.version=$(VERSION)
# The CA keeps its state in bbolt; these leave out the databases that it could use
# besides.
TAGS     := nobadger,nomysql,nopgx
PKG      ?= ./...

# auer-agent runs on small devices: no HTTP/2 of net/http, which it does not speak, and
# no other program's example file. Packages that only read a configuration and flags
# have nothing inlined, which saves 120 KB.
AGENT_BUILD = $(GO) build -trimpath -tags nethttpomithttp2,agentonly -gcflags='github.com/goccy/go-yaml/...=-l' -gcflags='github.com/spf13/...=-l' -ldflags '$(LDFLAGS)'
AGENT_MAX  := 12000000

# The race detector needs a C compiler; without one the tests still run. SQLite, which is
# translated from C, keeps its memory where the detector does not look: its code goes
# without, so that it does not ask the detector a hundred million times.
RACE     := $(shell command -v gcc >/dev/null 2>&1 && echo -race -gcflags=modernc.org/sqlite/lib=-race=false)
TIMEOUT  ?= 15m
# Each program with the race detector waits for a second at its end, and the scripts of
# our tests start hundreds.
export GORACE ?= atexit_sleep_ms=0
FUZZTIME ?= 30s
BENCH    ?= .
COUNT    ?= 6

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)

# The pages of the control centre need Node, 20.19 or newer. Without it the program has a
# page that says so.
NODE   := $(shell node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a == 20 && b >= 19 ? 0 : 1)' >/dev/null 2>&1 && command -v npm >/dev/null && echo yes)
UI     := ccc/web/ui
UI_SRC  = $(shell git ls-files $(UI) ccc/api/openapi.json ccc/web/policy.txt)
COMMA  := ,
BUILD_TAGS = $(TAGS)$(if $(NODE),$(COMMA)webui)

.PHONY: build agents ui ui-check run smoke test test-quick fuzz lint bench bench-quick bench-ca bench-link bench-compare bench-go proto clean help

build: $(if $(NODE),ui) ## Build every program into bin/ (static, stripped)
	@mkdir -p $(BIN)
	$(if $(NODE),,@echo 'no Node 20.19 or newer: the control centre gets no pages')
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(BUILD_TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./...
	CGO_ENABLED=0 $(AGENT_BUILD) -o $(BIN)/auer-agent ./auerproxy/cmd/auer-agent

ui: $(BIN)/ui.built ## Build the pages of the control centre (needs Node)

$(BIN)/ui.modules: $(UI)/package-lock.json
	@mkdir -p $(BIN)
	cd $(UI) && npm ci --no-audit --no-fund
	@touch $@

$(BIN)/ui.built: $(BIN)/ui.modules $(UI_SRC)
	cd $(UI) && npm run build
	@touch $@

ui-check: ui ## Look at the pages in Chromium, against a server of their own: every state, axe, ten thousand rows
	cd $(UI) && npm run e2e

agents: ## Build auer-agent for linux on amd64, arm64 and armv7, and check its size
	@mkdir -p $(BIN)
	@for arch in amd64 arm64 arm; do \
	  out=$(BIN)/auer-agent-linux-$$arch; \
	  GOOS=linux GOARCH=$$arch GOARM=7 CGO_ENABLED=0 $(AGENT_BUILD) -o $$out ./auerproxy/cmd/auer-agent; \
	  size=$$(stat -c %s $$out); echo "$$out $$size bytes"; \
	  if [ $$size -ge $(AGENT_MAX) ]; then echo "larger than $(AGENT_MAX) bytes"; exit 1; fi; \
	done

run: build ## Start everything on this machine: PKI, relay, control centre, gateway, three PBXs
	$(BIN)/dev

smoke: build ## Start everything on free ports, use it as a newcomer would, stop it
	$(BIN)/dev smoke

test: $(if $(NODE),ui) ## go vet and all tests, with the race detector, in random order
	$(GO) vet -tags $(TAGS) $(PKG)
	$(if $(RACE),,@echo 'no C compiler: the race detector is off')
	$(GO) test $(RACE) -vet=off -shuffle=on -timeout $(TIMEOUT) -tags $(TAGS) $(PKG)
	$(if $(RACE),CGO_ENABLED=1 $(GO) test -timeout $(TIMEOUT) -tags $(PKCS11) -run '^TestPKCS11$$' ./pki/authority)
	$(if $(RACE),$(GO) test -p 1 -count=1 -timeout $(TIMEOUT) -tags $(TAGS) -run '$(EXACT)' ./auerproxy/tunnel/... ./auerproxy/relay)
	$(if $(RACE),$(GO) test -count=1 -timeout $(TIMEOUT) -tags $(TAGS) -run '^Test(Matrix|Canary|CanaryFindsLeaks|ApplyAgain|EveryChangeIsTold|RingsHalt)$$' ./ccc/api ./ccc/rollout)
	$(if $(NODE),$(GO) test -tags $(BUILD_TAGS) ./ccc/web)
	$(if $(NODE),cd $(UI) && npm test)

# Tests of keys in a token, which need a C compiler. A comma would end $(if).
PKCS11 = $(TAGS),pkcs11

# Counts of allocations and of memory, and system calls, which the race detector would change.
EXACT = ^Test(RequestAllocs|FramesAllocateNothing|Idle(Session|Connection|Call)Memory|Socket(Bytes|Errors|Close))$$

test-quick: ## All tests without the race detector; results are cached
	$(GO) test -short -timeout $(TIMEOUT) -tags $(TAGS) $(PKG)

fuzz: ## Run every fuzz target for FUZZTIME=30s; PKG=./configs for one package
	@GO='$(GO)' TAGS='$(TAGS)' FUZZTIME='$(FUZZTIME)' .ci/fuzz $(PKG)

lint: $(GOLANGCI) ## gofmt, go vet and golangci-lint
	@unformatted=$$(git ls-files -z '*.go' | xargs -0 gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags $(TAGS) $(PKG)
	$(GOLANGCI) run --build-tags $(TAGS) $(PKG)

$(GOLANGCI):
	@mkdir -p $(BIN)
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

# With program sim beside it, bench measures fleets too.
BENCH_RESULTS := integration/bench/results
BENCH_BUILD    = mkdir -p $(BIN) && CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./integration/bench ./integration/sim
BENCHSTAT     := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

bench: ## Compare with other tunnels (FRPS, FRPC, CHISEL, NGINX name their programs) and keep the results, half an hour
	@$(BENCH_BUILD)
	$(BIN)/bench run --keep $(BENCH_RESULTS)

bench-quick: ## Hold ours against the targets in under five minutes; fails where one is missed
	@$(BENCH_BUILD)
	$(BIN)/bench quick --out $(BIN)/bench-quick

# STORED=1000000 takes twenty minutes and 8 GB; STORES=dir keeps the filled stores.
bench-ca: ## Compare the PKI with a stock step-ca (STEP_CA names the program) and keep the results; POSTGRES=url
	@mkdir -p $(BIN) && CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./integration/bench ./pki
	$(BIN)/bench ca --keep $(BENCH_RESULTS) --stored $(or $(STORED),100000) $(if $(STORES),--stores '$(STORES)') $(if $(POSTGRES),--postgres '$(POSTGRES)')

LINK_RESULTS := integration/chaos/results

bench-link: ## Compare tunnels over lines with delay and loss (root on Linux), 25 minutes; ROUNDS=3
	LINK_RESULTS=$(CURDIR)/$(LINK_RESULTS)/$$(date -u +%F)-$$(git describe --always --dirty) LINK_ROUNDS=$(or $(ROUNDS),3) \
		$(GO) test -tags $(TAGS) -ldflags '$(LDFLAGS)' -run 'TestLink$$' -parallel 12 -timeout 2h -count=1 -v ./integration/chaos

bench-compare: ## Compare the last two results that were kept, or those in the directories OLD and NEW
	@old='$(OLD)'; new='$(NEW)'; kept=($$(ls -d $(BENCH_RESULTS)/[0-9]*/ 2>/dev/null)); n=$${#kept[@]}; \
	if [ -z "$$old$$new" ]; then \
		[ $$n -ge 2 ] || { echo "bench-compare: fewer than two results in $(BENCH_RESULTS); run make bench, or set OLD and NEW" >&2; exit 1; }; \
		old=$${kept[n-2]} new=$${kept[n-1]}; \
	fi; \
	$(GO) run $(BENCHSTAT) "$${old%/}/bench.txt" "$${new%/}/bench.txt"

bench-go: ## Go benchmarks, COUNT=6 times for benchstat; BENCH=regexp and PKG choose
	$(GO) test -tags $(TAGS) -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 60m $(PKG)

proto: ## Generate the Go code of the wire messages (needs protoc)
	GOBIN=$(CURDIR)/$(BIN) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go
	cd auerproxy/tunnel/tunnelpb && PATH="$(CURDIR)/$(BIN):$$PATH" \
		protoc -I . --go_out=. --go_opt=paths=source_relative tunnel.proto
	cd auerproxy/tunnel/presence/presencepb && PATH="$(CURDIR)/$(BIN):$$PATH" \
		protoc -I . --go_out=. --go_opt=paths=source_relative presence.proto

clean: ## Remove what was built
	rm -rf $(BIN)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
