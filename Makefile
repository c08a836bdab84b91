# The targets that people and CI use. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: controlplane ## The main job on a Kubernetes of its own: a label, refusals, repairs; as root a real defragmentation
	cargo build --locked --bins --example demo
	cargo run --locked --example demo

.PHONY: test
test: ## All tests, end to end on a real control plane; the last line has the totals
	@scripts/test.sh

.PHONY: test-fast
test-fast: ## What needs neither Go nor a control plane nor root, in about two minutes after a change
	@scripts/test.sh --fast

.PHONY: lint
lint: ## Format, clippy, dependencies, documentation
	@.ci/run lint

.PHONY: bench
bench: controlplane ## How quick, quiet and small `serve` is with a fleet of 1,000
	cargo bench --locked --bench fleet

FULL ?=
.PHONY: bench-fleet
bench-fleet: controlplane ## What 1,000 and 5,000 StatefulSets cost at a cold start, beside plain calls (SIZES=, FULL=1 for 16,000, BEFORE=PROGRAM, PLOT=FILE)
	FULL=$(FULL) PLOT=$(abspath $(PLOT)) cargo bench --locked --bench cold

.PHONY: bench-status
bench-status: controlplane ## What the entry for statefulsets/status costs the status writes of other StatefulSets, at saturation
	cargo bench --locked --profile dev --bench status

.PHONY: bench-admission
bench-admission: controlplane ## What admission costs a write, beside a webhook in Go, the policy of vap, one that allows all, and nobody (ROUNDS=3)
	CGO_ENABLED=0 go -C benches/peers build -trimpath -o $(abspath $(or $(CARGO_TARGET_DIR),target))/peer .
	BENCH_PEER=$(abspath $(or $(CARGO_TARGET_DIR),target))/peer cargo bench --locked --bench admission

.PHONY: bench-cli
bench-cli: controlplane ## Time and memory of check and render for 5,000 StatefulSets, beside kubeconform (ROUNDS=3; needs Go)
	CGO_ENABLED=0 go -C benches/peers build -trimpath -o $(abspath $(or $(CARGO_TARGET_DIR),target))/kubeconform github.com/yannh/kubeconform/cmd/kubeconform
	BENCH_KUBECONFORM=$(abspath $(or $(CARGO_TARGET_DIR),target))/kubeconform cargo bench --locked --bench cli

.PHONY: bench-judge
bench-judge: ## How long judgements take, beside other crates and the Go modules (needs Go)
	cargo run --locked --release --manifest-path benches/judge/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target)

SIZE ?=
.PHONY: compare
compare: controlplane ## defrag.sh's CronJob against ours, with both engines, into docs/ (root, 8 GB, etcd-defrag on PATH; SIZE='--live 3Gi')
	cargo build --locked --bins --example compare
	cargo run --locked --example compare -- $(SIZE)

.PHONY: simulate
simulate: ## A year of growing databases under different ways to decide when to defragment, into docs/
	cargo run --locked --example simulate

.PHONY: plots
plots: controlplane ## A sheet of plots for each dashboard, of its queries on a real Prometheus, into docs/ (some six minutes)
	PLOTS=$(CURDIR)/docs ETCD_DEFRAG_PROMETHEUS=required cargo test --locked --test monitoring every_query_of_the_dashboards_has_data -- --nocapture

.PHONY: recording
recording: ## Record make demo, and draw a still of it, into docs/ (needs asciinema; root, for the node)
	scripts/recording.sh

.PHONY: controlplane
controlplane: ## Build the test control plane (about 10 min on 2 cores, once; then cached)
	@scripts/controlplane.sh >/dev/null

SEQUENCES ?= 20000
REAL ?= 20
.PHONY: model
model: controlplane ## The reconciler against a model: SEQUENCES=20000 random ones with faults, REAL=20 on a control plane
	MODEL_SEQUENCES=$(SEQUENCES) MODEL_REAL_SEQUENCES=$(REAL) cargo test --locked --release --test model -- --nocapture

FROM ?=
.PHONY: upgrade
upgrade: controlplane ## From the program of an earlier commit (FROM=) to this one and back, with enrolled etcds; as root with Helm too
	ETCD_DEFRAG_PREVIOUS=$$(scripts/previous.sh $(FROM)) && export ETCD_DEFRAG_PREVIOUS && \
	  cargo test --locked --test upgrade -- --nocapture --test-threads 1

.PHONY: drills
drills: controlplane ## The long form of tests: load through restarts with the release image, 2,000 etcds on demand, 1,000 preflights, 20 starts of a node (root, an hour)
	ETCD_DEFRAG_IMAGE=$$(scripts/image.sh) AVAILABILITY_SECONDS=8 ONDEMAND_ETCDS=2000 PREFLIGHT_ETCDS=1000 NODE_STARTS=20 \
	  scripts/test.sh --test availability --test ondemand --test node_lifecycle

ETCDS ?= 1000
.PHONY: preflights
preflights: controlplane ## From the label to the preflight's outcome, right and wrong, with both engines (root, etcd-defrag on PATH); a fleet's: ETCDS=1000
	ETCD_DEFRAG_IMAGE=$$(scripts/image.sh) && export ETCD_DEFRAG_IMAGE && \
	  PREFLIGHT_CASES=all cargo test --locked --test node preflight:: -- --nocapture && \
	  PREFLIGHT_ETCDS=$(ETCDS) cargo test --locked --test ondemand preflights:: -- --nocapture

INCIDENTS := access:: interrupted:: proxied:: whole:: partition:: slow:: built_in:: five_members a_full_etcd killed_in_the_middle
.PHONY: incidents
incidents: controlplane ## What the built-in runner does when members are killed, slow, cut off, full, learners or unnamed: a table (root for the half on a node)
	cargo test --locked --no-fail-fast --test runner --test node -- $(INCIDENTS) --nocapture 2>&1 | tee target/incidents.log | \
	  sed -n -E 's/^(.*\.\.\. )?INCIDENT: //p; /^test result|panicked at|FAILED|SKIPPED/p'

DECISIONS ?= 500
WHOLE_RUNS ?= 50
.PHONY: decisions
decisions: controlplane ## What our own runner decides against etcd-defrag, which has to be on PATH: DECISIONS=500 dry runs, WHOLE_RUNS=50
	DECISIONS=$(DECISIONS) WHOLE_RUNS=$(WHOLE_RUNS) cargo test --locked --test runner decisions:: -- --nocapture --test-threads 1

.PHONY: attack
attack: controlplane ## Two replicas with the release image on a node, attacked by a tenant and by a pod (root, half an hour): ATTACK_SECONDS=20 each
	ETCD_DEFRAG_IMAGE=$$(scripts/image.sh) ATTACK_SECONDS=$${ATTACK_SECONDS:-20} \
	  cargo test --locked --test attack -- --nocapture --test-threads 1

.PHONY: oracle
oracle: ## Millions of schedules and rules against the Go modules that decide in a cluster
	ORACLE_REQUIRED=1 ORACLE_SCHEDULES=2000000 ORACLE_FIRES=200000 ORACLE_RULES=2000000 \
	  cargo test --locked --release --test oracle_schedule --test rule_oracle -- --nocapture

SECONDS ?= 600
JOBS ?= 1
.PHONY: fuzz
fuzz: ## Look for inputs that break the parsers and the judgement: SECONDS=600 each, JOBS=1 at a time
	@scripts/fuzz.sh $(SECONDS) $(JOBS)

.PHONY: static
static: ## A statically linked release binary for this machine
	@scripts/release-binary.sh

.PHONY: site
site: ## The documentation as a site, into target/site/html; fails where a link leads nowhere
	@scripts/site.sh

.PHONY: image
image: ## The container image of that binary, without a daemon; prints the path of its archive
	@scripts/image.sh
