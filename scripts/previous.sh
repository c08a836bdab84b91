#!/usr/bin/env bash
# Builds the program of an earlier commit, statically linked, and prints its path.
#
#   scripts/previous.sh [COMMIT]   default: the commit that an upgrade is tried from
#
# The sources of the commit are beside the program, in `source`: target/previous/COMMIT
# has both. What was built once is not built again. Dependencies are compiled once for
# all commits, in target/previous/build.
# Standard output is the path and nothing else; progress is on standard error.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A commit with today's built-in rule and default policy: a change of these writes CronJobs again, on purpose.
readonly before=d3918b1577970ae60bd6a805606a9caacfd29720

say() { printf 'previous: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

(($# <= 1)) || die "usage: scripts/previous.sh [COMMIT]"
commit=$(git rev-parse --verify --quiet "${1:-$before}^{commit}") ||
  die "there is no commit ${1:-$before} here; in a shallow clone: git fetch --unshallow"
previous=$(realpath -m "${CARGO_TARGET_DIR:-target}")/previous
host=$(rustc -vV | sed -n 's/^host: //p')
readonly commit previous host
readonly folder=$previous/$commit
readonly program=$folder/etcd-defrag-webhook

mkdir -p "$previous"
exec 9>"$previous/lock"
flock 9
if [[ ! -x $program ]]; then
  say "building $commit in $folder (some minutes the first time)"
  rm -rf "$folder"
  mkdir -p "$folder/source"
  git archive "$commit" | tar --extract --directory "$folder/source"
  # An image of it has nothing else inside. With --target the flags are for the program only, not for what builds it.
  (cd "$folder/source" && CARGO_TARGET_DIR=$previous/build RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --locked --release --target "$host" --bin etcd-defrag-webhook >&2)
  scripts/static-check.sh "$previous/build/$host/release/etcd-defrag-webhook" >&2
  # One rename: a program that is there is whole.
  cp "$previous/build/$host/release/etcd-defrag-webhook" "$program.part"
  mv -T "$program.part" "$program"
fi
printf '%s\n' "$program"
