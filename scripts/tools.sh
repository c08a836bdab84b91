#!/usr/bin/env bash
# Installs tools of the Rust world at the versions that the project is checked
# with, unless they are there, and prints the folder to put on PATH.
#
#   scripts/tools.sh NAME...   cargo-deny, cargo-auditable, cargo-cyclonedx, mdbook, rust-audit-info
#
# They are kept in $ETCD_DEFRAG_CACHE, or etcd-defrag-webhook in the user's cache.
# Standard output is the folder and nothing else.
set -euo pipefail
shopt -s inherit_errexit

declare -rA versions=(
  [cargo-auditable]=0.7.7
  [cargo-cyclonedx]=0.5.9
  [cargo-deny]=0.20.2
  [mdbook]=0.5.4
  [rust-audit-info]=0.5.4
)
readonly cache=${ETCD_DEFRAG_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set, and neither is ETCD_DEFRAG_CACHE}/.cache}/etcd-defrag-webhook}
readonly tools=$cache/tools

die() { printf 'tools: error: %s\n' "$*" >&2; exit 1; }

# Programs do not all say their version; Cargo writes down what it has installed.
installed() { grep -qs "^\"$1 $2 " "$tools/.crates.toml" && [[ -x $tools/bin/$1 ]]; }

(($#)) || die "which? (known: ${!versions[*]})"
mkdir -p "$tools"
exec 9>"$tools/lock"
for tool; do
  version=${versions[$tool]:-}
  [[ $version ]] || die "unknown tool $tool (known: ${!versions[*]})"
  installed "$tool" "$version" && continue
  flock 9
  installed "$tool" "$version" && continue
  printf 'tools: %s %s is not there; installing it into %s (a few minutes, once)\n' "$tool" "$version" "$tools" >&2
  # Flags for this project's binary are not for its tools.
  # mdBook is here to build the site and not to serve it.
  features=()
  [[ $tool != mdbook ]] || features=(--no-default-features --features search)
  env -u CARGO_ENCODED_RUSTFLAGS -u RUSTFLAGS -u CFLAGS -u CARGO_TARGET_DIR \
    cargo install --quiet --locked --root "$tools" "${features[@]}" "$tool@$version" >&2
done
printf '%s\n' "$tools/bin"
