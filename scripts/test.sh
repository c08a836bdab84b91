#!/usr/bin/env bash
# Runs every test: unit and property tests, comparisons with the Go modules, and
# the end-to-end tests on a real Kubernetes control plane, which it builds first
# unless that is cached.
#
#   scripts/test.sh [ARGUMENTS]   arguments go to `cargo test`, such as --test e2e
#
# Shown are the result of each test binary, failures in full and what was
# skipped; everything else is in target/test.log. The last line has the totals.
# Exit 0 only where at least one test passed and none failed.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly log=${CARGO_TARGET_DIR:-target}/test.log

say() { printf 'test: %s\n' "$*"; }
die() { printf 'test: error: %s\n' "$*" >&2; exit 1; }

check_tools() {
  local rust go
  rust=$(awk -F '"' '/^rust-version/ { print $2; exit }' Cargo.toml)
  go=$(awk '$1 == "go" { print $2; exit }' tests/controlplane/go.mod)
  command -v cargo >/dev/null || die "cargo is missing; install Rust $rust or newer: https://rustup.rs"
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

main() {
  check_tools
  say "the control plane for the end-to-end tests"
  local controlplane
  controlplane=$(scripts/controlplane.sh)
  export ETCD_DEFRAG_CONTROLPLANE_BIN=$controlplane

  mkdir -p "$(dirname "$log")"
  say "cargo test (everything that it prints is in $log)"
  local status=0
  cargo test --locked --no-fail-fast "$@" -- --show-output 2>&1 | tee "$log" | condense || status=$?
  totals "$status"
}

main "$@"
