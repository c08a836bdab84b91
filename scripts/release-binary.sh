#!/usr/bin/env bash
# Builds the statically linked release binary and prints its path.
#
#   scripts/release-binary.sh [ARCHITECTURE [PROFILE]]   amd64 or arm64; default: this machine's; release or quick (for tests)
#
# The same sources and the same toolchain make the same bytes, in whatever folder:
# what would say where it was built is replaced by fixed names. The crates that it
# is made of are listed inside (cargo-auditable), for scanners of images. The commit
# that `version` shows is IMAGE_REVISION from the environment, or else git's.
# Standard output is the path and nothing else.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'release-binary: error: %s\n' "$*" >&2; exit 1; }

host=$(rustc -vV | sed -n 's/^host: //p')
case ${1:-} in
  '') target=$host ;;
  amd64) target=x86_64-unknown-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu ;;
  *) die "unknown architecture $1 (known: amd64, arm64)" ;;
esac
readonly host target
readonly profile=${2:-release}
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly target_dir
readonly cargo_home=${CARGO_HOME:-$HOME/.cargo}

if [[ $target != "$host" ]]; then
  rustc --print target-libdir --target "$target" | xargs test -d ||
    die "Rust's library for $target is missing; install it: rustup target add $target"
  # Rust does not look for the cross compiler; ring's build script finds it by itself.
  linker=${target%%-*}-linux-gnu-gcc
  command -v "$linker" >/dev/null || die "$linker is missing; on Debian: apt-get install gcc-${target%%-*}-linux-gnu libc6-dev-arm64-cross"
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$linker
fi
tools=$(scripts/tools.sh cargo-auditable)
PATH=$tools:$PATH
flags=(
  -C target-feature=+crt-static
  # The last one that matches counts: the target folder may be in the sources.
  "--remap-path-prefix=$cargo_home=/cargo"
  "--remap-path-prefix=$PWD=/src"
  "--remap-path-prefix=$target_dir=/target"
)
# Separated so that a path may have spaces.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${flags[*]}")
# The same for the C parts, which are ring's.
CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$target_dir=/target"
# The program knows no time; with that of the commit each commit would compile the C parts anew, and all that builds on them.
SOURCE_DATE_EPOCH=0
if [[ $profile != quick ]]; then
  export CARGO_INCREMENTAL=0
  # What `version` shows; a program for tests is not built anew for each commit.
  ETCD_DEFRAG_COMMIT=${IMAGE_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
  export ETCD_DEFRAG_COMMIT
fi
export PATH CARGO_ENCODED_RUSTFLAGS CFLAGS SOURCE_DATE_EPOCH
cargo auditable build --locked --profile "$profile" --target "$target" --bin etcd-defrag-webhook >&2
readonly binary=$target_dir/$target/$profile/etcd-defrag-webhook
scripts/static-check.sh "$binary" >&2
printf '%s\n' "$binary"
