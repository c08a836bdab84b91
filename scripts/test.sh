#!/usr/bin/env bash
# Runs every test: unit and property tests, comparisons with the Go modules, and
# the end-to-end tests on a real Kubernetes control plane, which it builds first
# unless that is cached.
#
#   scripts/test.sh               everything
#   scripts/test.sh --fast        what needs neither Go nor a control plane nor root
#   scripts/test.sh [ARGUMENTS]   arguments go to `cargo test`, such as --test e2e
#
# Test binaries run side by side, $TEST_LANES (2) at a time, those that take longest first;
# beside them, with what they leave of the processors, those that only compute; and last, alone,
# those that measure.
# Shown are, for each binary when it has ended, its result, failures in full
# and what was skipped; everything else is in target/test.log. The last line has
# the totals. Exit 0 only where at least one test passed and none failed.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly log=${CARGO_TARGET_DIR:-target}/test.log
readonly lanes=${TEST_LANES:-2}
# What cargo says is read here.
export CARGO_TERM_COLOR=never
readonly with_nodes=(install node upgrade)
# No other node runs beside it: it looks at what a node leaves on the machine, which that of another binary may take over.
readonly lone_node=(node_lifecycle)
# They have neither a node nor limits of time by the clock.
readonly computing=(unit model growth memory)
# Nothing runs beside them: how soon answers come is measured, also those of the API server.
readonly alone=(availability registration attack)
# First, for they take longest.
readonly longest=("${with_nodes[@]}" e2e ondemand process runner monitoring "${lone_node[@]}" model_real chart admission)
# Where most of the time is waiting, more than one test for each processor makes sense.
readonly -A threads=([e2e]=4 [node]=4 [ondemand]=4 [process]=3)

say() { printf 'test: %s\n' "$*"; }
die() { printf 'test: error: %s\n' "$*" >&2; exit 1; }

check_rust() {
  local rust
  rust=$(awk -F '"' '/^rust-version/ { print $2; exit }' Cargo.toml)
  command -v cargo >/dev/null || die "cargo is missing; install Rust $rust or newer: https://rustup.rs"
}

check_go() {
  local go
  go=$(awk '$1 == "go" { print $2; exit }' tests/controlplane/go.mod)
  command -v go >/dev/null || die "go is missing; install Go $go or newer: https://go.dev/doc/install (it builds the control plane that the tests run against)"
}

# Reads the output of cargo and of the tests. What a test printed is in the log
# only, but for failures and lines about skipped tests.
condense() {
  awk '
    # libtest shows the output of tests that passed first, then that of failures.
    /^successes:$/ { mute = 1; next }
    /^failures:$/ { mute = 0; print; fflush(); next }
    /^test result: / { mute = 0; print; fflush(); next }
    /^[* \t]*SKIPPED:/ { sub(/^[* \t]*/, ""); print; fflush(); next }
    mute || /^$/ || /^running [0-9]+ tests?$/ || /^test .* \.\.\. (ok|ignored.*)$/ { next }
    /^ *(Finished `|Executable |Blocking waiting)/ || / has been running for over / { next }
    { print; fflush() }
  '
}

# The totals of all binaries, and the verdict. A test that says SKIPPED: did not
# do its work, whatever libtest counts it as.
totals() {
  awk -v verdict="$1" '
    /^[* \t]*SKIPPED:/ { said++ }
    /^test result: / {
      for (i = 1; i < NF; i++) {
        if ($(i + 1) == "passed;") passed += $i
        if ($(i + 1) == "failed;") failed += $i
        if ($(i + 1) == "ignored;") ignored += $i
      }
    }
    END {
      if (said > passed) said = passed
      # A binary that does not build or is killed has no result line.
      if (verdict != 0 && failed == 0) print "cargo test ended with " verdict ", although no test failed: see above"
      if (passed + failed == 0) print "no test ran"
      printf "%d passed, %d failed, %d skipped\n", passed - said, failed, ignored + said
      exit verdict != 0 || failed > 0 || passed + failed == 0
    }
  ' "$log"
}

# --- Jobs: each is one `cargo test` of what is built already ------------------

# What a job selects, as arguments of cargo, and which tests of that, as arguments of libtest.
declare -A selects=() filters=()

# All but what needs Go, a control plane, Helm or Prometheus.
jobs_of_fast() {
  selects[unit]='--lib --bins --example simulate --example compare --example recording'
  local name
  for name in admission chart cli cli_ci cli_policies cli_rule field fuzz_corpus growth layers manifests model monitoring pages rule_soundness site terminal workflows; do
    selects[$name]="--test $name"
  done
  # Only what is left out is named: a new test is in, until it asks for something that is not there.
  filters[chart]='--skip cluster:: --skip digests:: --skip documents::the_plain --skip kustomize:: --skip monitoring:: --skip platform:: --skip rendered:: --skip rights:: --skip schema:: --skip values::each'
  filters[model]='--skip real::'
  filters[monitoring]='--skip live:: --skip nospace:: --skip webhook:: --skip rules::promtool --skip rules::each_alert_fires --skip grafanas_own_types'
  filters[rule_soundness]='--skip the_engine_s_library'
}

# Everything, by what cargo says of what it has built.
jobs_of_all() {
  selects[unit]='--lib --bins' selects[documentation]='--doc'
  local line
  while read -r line; do
    if [[ $line =~ ^'Executable unittests src/' ]]; then
      continue
    elif [[ $line =~ ^'Executable unittests examples/'.*/([A-Za-z0-9_]+)-[0-9a-f]+\)$ ]]; then
      selects[unit]+=" --example ${BASH_REMATCH[1]}"
    elif [[ $line =~ ^'Executable tests/'.*/([A-Za-z0-9_]+)-[0-9a-f]+\)$ ]]; then
      selects[${BASH_REMATCH[1]}]="--test ${BASH_REMATCH[1]}"
    else
      # Rather nothing than all but one.
      die "what is this binary of cargo: $line"
    fi
  done < <(grep -E '^ *Executable ' "$log")
  ((${#selects[@]} > 2)) || die "cargo names no binary of tests"
  # Of the model, only what has a real control plane has limits of time by the clock.
  selects[model_real]=${selects[model]} filters[model]='--skip real::' filters[model_real]='real::'
}

# Builds for all jobs at once, so that none of them has anything left to build.
build() { cargo test --locked --no-run "$@" 2>&1 | tee "$log" | condense; }

# Runs a job and notes how it ended; without that note it was killed.
run_job() {
  local name=$1 status=0
  # Seconds by the clock, and of the processors.
  local TIMEFORMAT='%0R %0U %0S'
  local -a select filter
  read -ra select <<<"${selects[$name]}"
  read -ra filter <<<"${filters[$name]:-}"
  if [[ -v threads[$name] ]]; then export RUST_TEST_THREADS=${RUST_TEST_THREADS:-${threads[$name]}}; fi
  { time cargo test --locked --no-fail-fast "${select[@]}" -- "${filter[@]}" --show-output \
    >"$scratch/$name.log" 2>&1 </dev/null; } 2>"$scratch/$name.took" || status=$?
  echo "$status $(<"$scratch/$name.took")" >"$scratch/$name.ended"
}

# Shows and logs what a job wrote, and takes over how it ended.
collect() {
  local name=$1 status=137 took='?' user=0 system=0
  cat "$scratch/$name.log" >>"$log"
  condense <"$scratch/$name.log"
  if [[ -s $scratch/$name.ended ]]; then
    read -r status took user system <"$scratch/$name.ended"
  else
    say "$name was killed" | tee -a "$log"
  fi
  if ((status != 0)); then verdict=$status; fi
  say "$name: $took s, $((user + system)) s of processors"
}

# The names of the jobs that run, by their process.
declare -A running=()
# Jobs that run one after the other beside those that mostly wait, and the process of the one that does.
beside=()
besides=''

stop() {
  local pid
  for pid in "${!running[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  rm -rf "$scratch"
  exit 130
}

# Starts a job in a group of processes of its own, to be ended as one.
start() {
  set -m
  run_job "$1" &
  set +m
  running[$!]=$1
}

# Has one of the jobs in `beside` run, if none of them does, with what the others leave of the processors.
start_beside() {
  if [[ -n $besides || ${#beside[@]} -eq 0 ]]; then return 0; fi
  start "${beside[0]}"
  besides=$!
  beside=("${beside[@]:1}")
  renice -n 19 -g "$besides" >/dev/null
}

# Waits until one of the jobs has ended.
reap() {
  local pid
  wait -n -p pid "${!running[@]}" || true
  collect "${running[$pid]}"
  unset "running[$pid]"
  if [[ $pid == "$besides" ]]; then besides=''; fi
  start_beside
}

# Waits until fewer jobs than so many run, without the one beside them.
await() {
  start_beside
  while ((${#running[@]} - (${#besides} > 0) >= $1)); do reap; done
}

# Waits until no node runs.
await_nodes() {
  local name
  for name in "${with_nodes[@]}"; do
    while among "$name" "${running[@]}"; do reap; done
  done
}

# Runs jobs by their names, at most so many at a time.
run_jobs() {
  local width=$1 name
  shift
  for name in "$@"; do
    await "$width"
    if among "$name" "${lone_node[@]}"; then await_nodes; fi
    start "$name"
  done
  await 1
}

among() { [[ " ${*:2} " == *" $1 "* ]]; }

# The names of a list that are selected.
selected_of() {
  local name
  for name in "$@"; do
    if [[ -v selects[$name] ]]; then echo "$name"; fi
  done
}

run_all() {
  local -a side=() singly
  mapfile -t beside < <(selected_of "${computing[@]}")
  mapfile -t singly < <(selected_of "${alone[@]}")
  local name
  for name in $(selected_of "${longest[@]}") $(printf '%s\n' "${!selects[@]}" | sort); do
    if ! among "$name" "${beside[@]}" "${singly[@]}" "${side[@]}"; then side+=("$name"); fi
  done
  if [[ -n $(selected_of "${with_nodes[@]}" "${lone_node[@]}" "${alone[@]}") ]]; then
    image || { verdict=$?; return; }
  else
    # Nothing would wait beside them.
    side=("${beside[@]}" "${side[@]}") beside=()
  fi
  scratch=$(mktemp -d)
  trap stop INT TERM
  run_jobs "$lanes" "${side[@]}"
  # Whatever is left of them has the processors for itself.
  side=("${beside[@]}") beside=() besides=''
  run_jobs "$lanes" "${side[@]}"
  run_jobs 1 "${singly[@]}"
  trap - INT TERM
  rm -rf "$scratch"
}

# -----------------------------------------------------------------------------

control_plane() {
  check_go
  say "the control plane for the end-to-end tests"
  ETCD_DEFRAG_CONTROLPLANE_BIN=$(scripts/controlplane.sh)
  export ETCD_DEFRAG_CONTROLPLANE_BIN
}

# The image of the tests that have a node. Built before them all: beside a compiler they would wait for each other.
image() {
  ((EUID == 0)) || return 0
  say "the image for the tests that have a node"
  ETCD_DEFRAG_IMAGE=${ETCD_DEFRAG_IMAGE:-$(scripts/image.sh --quick)}
  export ETCD_DEFRAG_IMAGE
}

fast() {
  # What asks for a control plane all the same fails at once, also where there is one.
  export ETCD_DEFRAG_CONTROLPLANE_BIN=/nonexistent
  jobs_of_fast
  local -a targets
  read -ra targets <<<"${selects[*]}"
  build "${targets[@]}" || { verdict=$?; return; }
  run_all
}

everything() {
  control_plane
  build || { verdict=$?; return; }
  jobs_of_all
  run_all
}

# Whole binaries are jobs; whatever else cargo is to be told, it is told as it is.
selected() {
  control_plane
  if [[ " $*" =~ ^(\ --test\ [a-z0-9_]+)+$ ]]; then
    local name
    for name in "$@"; do
      if [[ $name != --test ]]; then selects[$name]="--test $name"; fi
    done
    build "$@" || { verdict=$?; return; }
    run_all
    return
  fi
  cargo test --locked --no-fail-fast "$@" -- --show-output 2>&1 | tee "$log" | condense || verdict=$?
}

main() {
  check_rust
  verdict=0
  mkdir -p "$(dirname "$log")"
  say "cargo test (everything that it prints is in $log)"
  case "$*" in
    '') everything ;;
    --fast) fast ;;
    *) selected "$@" ;;
  esac
  totals "$verdict"
}

main "$@"
