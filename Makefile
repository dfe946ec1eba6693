# What can be done with this repository. `make` lists it; settings in capitals, e.g. make demo FILE=any.dbn.zst DURATION=20s
GO ?= go
BIN ?= bin/tapewire
FILE ?=
FUZZTIME ?= 150000x
CRASH_ROUNDS ?= 200
SEEDS ?= 20000
POWERCUTS ?= 80
SOAK_MINUTES ?= 10
SOAK_SUBSCRIBERS ?= 200
SOAK_RATE ?= 20000
SOAK_SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo build test race fuzz crash crashsim powercut mounts soak allocs lint vuln docs interop bench bench-all bench-quick clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: build ## a market, two bots and a check, in one terminal (FILE=, DURATION=)
	$(BIN) demo $(if $(FILE),"$(FILE)")

# For --version, which the go command serves only where it notes the commit itself:
# not in a git worktree, and not under -buildvcs=false.
REVISION = $(shell git rev-parse HEAD 2>/dev/null)$(if $(shell git status --porcelain 2>/dev/null),-dirty)
COMMITTED = $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)

build: ## bin/tapewire (BIN=)
	$(GO) build -ldflags "-X main.revision=$(REVISION) -X main.committed=$(COMMITTED)" -o $(BIN) ./cmd/tapewire

# The random tests run fewer rounds here: two minutes. `make race` runs them whole.
test: ## gofmt, vet and all tests, random ones in few rounds; needs Go alone
	@unformatted=$$(gofmt -l bench cmd feed gateway internal journal); test -z "$$unformatted" || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(GO) test -short -timeout 20m ./...

race: ## all tests under the race detector; needs a C compiler
	$(GO) test -race -timeout 40m ./...

# By executions: a run that ends by time now and then fails with "context deadline
# exceeded" and no input (golang.org/issue/48157). Shrinking every interesting
# input would take most of so short a run.
fuzz: ## each fuzz test for FUZZTIME executions
	@grep -rl --include='*_test.go' '^func Fuzz' cmd feed gateway journal | while read -r file; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$name in $$file"; $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$(dirname $$file) || exit 1; \
		done; \
	done

crash: ## kill -9 of gateway and producers, CRASH_ROUNDS times
	CRASH_ROUNDS=$(CRASH_ROUNDS) $(GO) test -count=1 -v -timeout 30m -run Killed ./gateway

crashsim: ## SEEDS random crashes of a journal on a simulated disk
	$(GO) test -count=1 -v -timeout 60m -run CrashSimulation ./journal -seeds $(SEEDS)

# Eight cuts to a disk, then a fresh one: it fills up.
powercut: ## POWERCUTS power cuts on a real ext4; needs root and loop devices, and says so
	POWERCUT_ROUNDS=8 $(GO) test -count=$$((($(POWERCUTS) + 7) / 8)) -v -timeout 30m -run PowerCutOnExt4 ./journal

# What is missing here (root, loop devices, mkfs.xfs, overlay, rsync) is named again at the end.
mounts: ## what is seen from other mounts, layers, namespaces and copies, and a device pulled; needs root and loop devices, and says so
	@out=$$(mktemp); MOUNTS=1 $(GO) test -count=1 -v -timeout 20m -run 'Mount|Queued' ./cmd/tapewire >$$out 2>&1; code=$$?; cat $$out; \
	grep 'NOT PROVEN HERE' $$out | sort -u; rm -f $$out; exit $$code

soak: build ## SOAK_MINUTES of everything at once: kills, restarts, stalls, resumes, expiry; every record is checked (SOAK_SUBSCRIBERS=, SOAK_SEED=)
	$(GO) run ./cmd/soak -minutes $(SOAK_MINUTES) -subscribers $(SOAK_SUBSCRIBERS) -rate $(SOAK_RATE) -seed $(SOAK_SEED)

allocs: ## benchmarks of the paths that must not allocate
	$(GO) test -run '^$$' -bench 'Ingest|FanOut|Append|ScanRun|View|IndexTime|Next' -benchmem -benchtime 200000x ./feed/... ./journal ./gateway

lint: ## staticcheck, pinned in tools/go.mod
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

# Where the database cannot be reached nothing is checked. That is said and is no
# failure; a finding is one. A mirror of the database, or a copy (file:///DIR),
# serves a machine without internet.
GOVULNDB ?= https://vuln.go.dev

vuln: ## govulncheck, pinned in tools/go.mod: known vulnerabilities that this code can reach
	@out=$$($(GO) tool -modfile=tools/go.mod govulncheck -db $(GOVULNDB) ./... 2>&1) && { echo "$$out"; exit 0; }; echo "$$out"; \
	case $$out in *"fetching vulnerabilities: "*) echo "NOT CHECKED for vulnerabilities: $(GOVULNDB) cannot be reached from here; GOVULNDB=URL names another database";; *) exit 1;; esac

docs: ## docs/metrics.md, from the code
	$(GO) test -count=1 -run MetricsPage ./gateway -update

interop: ## the official Python and Rust clients against this gateway; downloads them
	bash interop/run

# The page is written where BENCH_OUT says, docs by default; a few minutes of a
# quiet machine give figures that mean something, a busy one does not.
BENCH_OUT ?= docs

bench: ## tapewire beside the floor of this machine and NATS, about 20 minutes; writes docs/benchmarks.md
	cd bench && $(GO) run . run --set default --out "$(abspath $(BENCH_OUT))"

bench-all: ## the same with JetStream, Redis Streams, Kafka and 20 GB on disk, about 28 minutes
	cd bench && $(GO) run . run --set all --out "$(abspath $(BENCH_OUT))"

bench-quick: ## a look in 2 minutes, into bin/bench
	mkdir -p bin/bench && cd bench && $(GO) run . run --set quick --out "$(abspath bin/bench)"

clean: ## remove what was built
	rm -rf bin
