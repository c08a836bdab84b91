#!/usr/bin/env bash
# Runs the fuzz targets, each from the corpus that is kept for it.
#
#   scripts/fuzz.sh [SECONDS [JOBS [TARGET...]]]   default: 600 seconds each, 1 at a time, all targets
#
# What is new to a target's corpus is in fuzz/target/corpus/TARGET, what its log
# says in fuzz/target/logs/TARGET.log, and an input that fails in
# fuzz/artifacts/TARGET. Exit 0 only where every target ran and none failed.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# $SECONDS is bash's own.
readonly duration=${1:-600} jobs=${2:-1}
shift $(($# < 2 ? $# : 2))
targets=("$@")

say() { printf 'fuzz: %s\n' "$*"; }
die() { printf 'fuzz: error: %s\n' "$*" >&2; exit 1; }

check_tools() {
  local number
  for number in "$duration" "$jobs"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "$number is not a number above 0; usage: make fuzz SECONDS=600 JOBS=1"
  done
  cargo +nightly --version >/dev/null 2>&1 ||
    die 'the nightly toolchain is missing, which coverage needs; install it: rustup toolchain install nightly --profile minimal'
  cargo fuzz --version >/dev/null 2>&1 ||
    die 'cargo-fuzz is missing; install it: cargo install --locked cargo-fuzz'
}

# There is no unsafe code to sanitize, and without a sanitizer more inputs are tried.
fuzz() { cargo +nightly fuzz "$1" --sanitizer none "${@:2}"; }

# Whatever an input says is judged within 20 ms of a core, and a target judges it
# some ten times; the rest of these seconds is for a noisy machine.
readonly each=5

run() {
  local target=$1 found=fuzz/target/corpus/$1 log=fuzz/target/logs/$1.log
  mkdir -p "$found" fuzz/target/logs
  if fuzz run "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="$duration" -max_len=4096 -timeout="$each" \
    -rss_limit_mb=2048 -print_final_stats=1 -dict="fuzz/dictionaries/$target.dict" >"$log" 2>&1; then
    say "$target: ok, $(grep -a -o 'Done [0-9]* runs in [0-9]* second(s)' "$log"), $(grep -a -o 'cov: [0-9]*' "$log" | tail -1)"
  else
    say "$target: FAILED; the end of $log:"
    tail -n 40 "$log"
    return 1
  fi
}

main() {
  check_tools
  local target status=0
  ((${#targets[@]})) || mapfile -t targets < <(cargo +nightly fuzz list)
  for target in "${targets[@]}"; do
    [[ -d fuzz/corpus/$target ]] || die "there is no target $target (known: $(ls fuzz/corpus | paste -sd ' '))"
  done
  say 'building'
  fuzz build
  say "$duration s for each of ${targets[*]}, $jobs at a time"
  for target in "${targets[@]}"; do
    while (($(jobs -pr | wc -l) >= jobs)); do wait -n || status=1; done
    run "$target" &
  done
  while [[ -n $(jobs -p) ]]; do wait -n || status=1; done
  exit "$status"
}

main
