# Everything a developer or CI runs. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Modules below the root are not part of ./... and are looped over.
MODULES := $(dir $(filter-out %/tools/go.mod,$(shell find . -name go.mod -not -path "./.git/*")))
TOOL := go tool -modfile=$(CURDIR)/tools/go.mod
FUZZTIME ?= 10s
KILLS ?= 200
CUTS ?= 40
WAY ?= pcp
# Tests with routers in network namespaces, which need root and a minute.
LABS := ^(TestLab|TestRealGateway)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the command into ./bin
	go build -o bin/ ./cmd/...

test: debian check ## every test there is, as CI runs it
	@for m in $(MODULES); do (cd $$m && go test -race -tags failpoint ./...) || exit 1; done
	@$(MAKE) test-fabric

test-short: debian ## the tests that need under two minutes, with the race detector
	@for m in $(MODULES); do (cd $$m && go test -race -skip '$(LABS)' -tags failpoint ./...) || exit 1; done

check: ## vet, format, staticcheck, architecture
	@for m in $(MODULES); do (cd $$m && go vet -tags failpoint,fabric ./... && $(TOOL) staticcheck -tags failpoint,fabric ./...) || exit 1; done
	@bad=$$($(TOOL) gofumpt -l .); [ -z "$$bad" ] || { echo "not gofumpt-ed: $$bad"; exit 1; }
	go test -run 'Imports|Pure|Purity' .

test-fabric: debian ## the ledger on a Hyperledger Fabric network of this machine; builds it first
	go test -race -tags fabric -count 1 -timeout 15m -v -run TestRealNetwork ./payment/ledger/fabric
	go test -tags fabric -count 1 -timeout 15m -parallel 1 -v -run OnFabric ./cmd/torrente

bench-fabric: ## how fast the ledger is on that network, beside what the network can do
	go test -tags fabric -run '^$$' -bench RealNetwork -benchtime 1x -timeout 30m -v ./payment/ledger/fabric
	go test -tags fabric -run '^$$' -bench OnFabric -benchtime 1x -timeout 60m -v ./cmd/torrente

fuzz: ## each fuzz target for FUZZTIME (10s)
	@tools/fuzz $(FUZZTIME)

demo-nat: debian ## a paid download between two homes behind NATs (root), by WAY (pcp)
	go build -o bin/ ./cmd/torrente ./deploy/natlab
	bin/natlab --path $(WAY)

kills: ## buyer and seller killed KILLS (200) times each, at every failpoint
	TORRENTE_KILLS=$(KILLS) go test -tags failpoint -count 1 -timeout 30m -run TestKilledBuyerAndSeller -v ./cmd/torrente

powercuts: ## buyer, seller and federation lose power CUTS (40) times each
	TORRENTE_POWER_CUTS=$(CUTS) go test -tags failpoint -count 1 -timeout 30m -run TestPowerLoss -v ./cmd/torrente

bench: ## the benchmarks, then the download figures
	go test -run '^$$' -bench . -benchmem ./...
	go run ./cmd/torrente demo --size 1GiB --json

cover: ## coverage by package
	go test -skip '$(LABS)' -cover ./...

debian: ## install the Debian packages that the tests need (root)
	@tools/debian

newcomer: ## both commands of the README, in a clean clone with an empty module cache
	@tools/newcomer

tools: ## fetch the pinned development tools
	@cd tools && go mod download

.PHONY: help build test test-short test-fabric bench-fabric demo-nat check fuzz kills powercuts bench cover debian newcomer tools
