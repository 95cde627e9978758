# make run   starts a cluster of three nodes and its chat page
# make test  tests everything; installs what is missing when it may
# make heavy checks with tools that take minutes to compile

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

BUNDLE      := web/dist/socket.io.min.js
# Tools for tests only, so they are pinned here and not in go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help run build client test lint unit fuzz golden docs docs-metrics deploy dashboard interop heavy golangci charts platforms manifests tools clean go node

help: ## show what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## run a cluster of three nodes with its chat page
	exec bin/chorus demo

build: go client ## compile bin/chorus with the client's bundle in it
	go build -trimpath $$(git rev-parse --git-dir >/dev/null 2>&1 || echo -buildvcs=false) -o bin/chorus ./cmd/node

client: $(BUNDLE) ## build the official client's bundle

$(BUNDLE): web/package.json web/package-lock.json web/build.mjs | node
	cd web && npm ci --ignore-scripts && node build.mjs
	touch $@

test: tools build lint unit fuzz deploy interop ## test everything

lint: go client
	@files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [[ -z $$files ]] || { echo "gofmt: not formatted: $$files"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

# Those that mark themselves as parallel mainly wait, so that more of them fit than there are processors.
unit: go client
	go test -race -parallel 4 ./...

# A number of inputs, because a short time can end badly on a busy machine. Longer: make fuzz FUZZTIME=2m
FUZZTIME := 20000x

fuzz: go ## fuzz every decoder
	@mkdir -p build; test=$$PWD/build/fuzz.test; cache=$$(go env GOCACHE)/fuzz; \
	grep -rlE --include='*_test.go' --exclude-dir=node_modules '^func Fuzz' . | xargs -n 1 dirname | sort -u | while read -r dir; do \
		go test -c -fuzz . -o "$$test" "$$dir"; \
		cd "$$dir"; \
		list=$$("$$test" -test.list '^Fuzz'); package=$$(go list); \
		for func in $${list:?"$$dir lists nothing to fuzz"}; do \
			echo "$$dir $$func $(FUZZTIME)"; \
			"$$test" -test.run '^$$' -test.fuzz "^$$func$$" -test.fuzztime $(FUZZTIME) -test.fuzzcachedir "$$cache/$$package" </dev/null 2>&1 | \
				grep -E 'FAIL|Failing|panic|^PASS'; \
		done; \
		cd "$$OLDPWD"; \
	done

golden: node ## make the golden vectors anew from the npm packages
	cd test/golden && npm ci --ignore-scripts && npm start --silent
	cd test && npm ci --ignore-scripts && node golden/cluster.mjs && node golden/streams.mjs

docs: go docs-metrics ## write the pages that are made from the code
	@mkdir -p build
	go run ./cmd/node config docs >build/configuration.md && mv build/configuration.md docs/configuration.md

docs-metrics: go ## write the tables of docs/metrics.md
	go test ./internal/node -run '^TestMetricsPage$$' -update-metrics-page

interop: build ## test with official clients, Node servers and a browser
	test/run

deploy: ## check the configurations of the balancer, of Prometheus, of Alertmanager and of systemd
	deploy/check

heavy: golangci charts platforms ## check with tools that take minutes to compile the first time

golangci: go client ## run golangci-lint over every module
	@git ls-files '*go.mod' | xargs -n 1 dirname | while read -r dir; do \
		echo "golangci-lint in $$dir"; \
		(cd "$$dir" && go run $(GOLANGCI) run --config "$(CURDIR)/.golangci.yml" ./... </dev/null); \
	done

PLATFORMS := linux/386 linux/arm64 darwin/arm64 windows/amd64

platforms: go ## compile for other systems and processors
	@for p in $(PLATFORMS); do echo "compiling for $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} go build ./... || exit 1; done

# Not from the cache, which does not see that files outside of the module have changed.
charts: go client ## test the Dockerfile, compose file, Helm chart, manifests, rules and dashboard
	cd deploy/tools && go test -count 1 -timeout 20m ./...

manifests: go ## render deploy/k8s from the Helm chart
	cd deploy/tools && go run ./manifests ../helm/chorus ../k8s

dashboard: go ## write the Grafana dashboard anew; then make manifests
	@mkdir -p build
	cd deploy/tools && go run ./dashboard >../../build/dashboard.json
	mv build/dashboard.json deploy/grafana/dashboards/chorus.json

tools:
	.ci/tools

clean: ## remove what was built
	rm -rf bin build web/node_modules test/node_modules loadtest/node/node_modules
	find web/dist -mindepth 1 ! -name README.md -delete

go:
	@need=$$(awk '$$1 == "go" { print $$2 }' go.mod); \
	have=$$(go env GOVERSION 2>/dev/null || true); \
	[[ -n $$have && $$(printf '%s\n' "$$need" "$${have#go}" | sort -V | head -1) == "$$need" ]] || \
		{ echo "make: needs Go $$need or newer, found $${have:-none}"; exit 1; }

node:
	@have=$$(node --version 2>/dev/null || true); major=$${have#v}; major=$${major%%.*}; \
	[[ -n $$have && $$major -ge 20 ]] && command -v npm >/dev/null || \
		{ echo "make: needs Node.js 20 or newer with npm, found $${have:-none}"; exit 1; }
