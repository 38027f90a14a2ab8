# `make` alone lists what there is. Every target stands for itself: none needs another one run before it.

MODULES  := $(patsubst ./%,%,$(patsubst %/,%,$(dir $(wildcard go.mod */go.mod))))
PACKAGES := $(patsubst ././...,./...,$(patsubst %,./%/...,$(MODULES)))
PROGRAMS := ./cmd/strangler ./legacy-monolith/cmd/shop ./extracted/orders/cmd/orders ./extracted/catalog/cmd/catalog ./bench/demo ./bench/soak ./bench/mover ./bench/chaos
RACE     := $(if $(CI),-race)

.PHONY: help build test race random model lint demo up soak chaos bench-data bench-gap breakpoints

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build every program into bin/
	go build -o bin/ $(PROGRAMS)

test: ## run every test; starts its own PostgreSQL and Consul, and builds each module on its own
	go test $(RACE) -timeout 75m $(PACKAGES)
	@for module in $(MODULES); do (cd $$module && GOWORK=off go build ./...) || exit 1; done

race: ## run every test under the race detector
	@$(MAKE) test RACE=-race

random: ## move random tables under random writes, and kill the mover at random: FOR=5m, or SEED=… once more
	STRANGLER_RANDOM=$(or $(FOR),$(if $(SEED),0s,5m)) STRANGLER_RANDOM_SEED=$(SEED) go test $(RACE) -count=1 -timeout 0 -v -run TestARandomWorkload ./internal/postgres

model: ## go through everything that can happen in a switch, at wide bounds; half an hour, and six gigabytes
	STRANGLER_MODEL=large go test -count=1 -timeout 0 -v -run TestThePromisesAreKept ./controller/model

lint: ## run the linter, which is built on first use, over every module
	@cd tools/lint && GOWORK=off go build -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@for module in $(MODULES); do (cd $$module && GOWORK=off go mod tidy -diff && $(CURDIR)/bin/golangci-lint run --allow-parallel-runners ./...) || failed=1; done; exit $${failed:-0}

demo: build ## strangle the shop's orders under load and back, and print the account; under five minutes
	bin/demo

up: build ## start the demonstration and leave it running for you to click through
	bin/demo --up

soak: build ## 300,000 requests of every protocol through reloads, endpoint changes and faults; some ten minutes
	bin/soak

breakpoints: build
	go build -tags breakpoints -o bin/strangler-breakpoints ./cmd/strangler

chaos: breakpoints ## kill, stop and cut off everything at every step of a switch, and write docs/chaos.md; 40 minutes
	bin/chaos --report docs/chaos.md

bench-gap: breakpoints ## measure what clients see of 100 switches at 400 writes/s, and write bench/README.md; ten minutes
	bin/chaos --undisturbed 100 --rate 534 --report bench/README.md

bench-data: build ## measure the data mover beside COPY, pg_dump and native subscriptions; an hour or so, bin/mover -h for less
	bin/mover --json bin/bench-data.json
