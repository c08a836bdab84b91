#!/usr/bin/env bash
# Records `make demo` with asciinema, and makes of it docs/demo.cast and docs/demo.svg.
#
#   scripts/recording.sh      needs asciinema 2 (Debian's package), and root: the demo shows a real defragmentation on a node
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'recording: error: %s\n' "$*" >&2; exit 1; }

command -v asciinema >/dev/null || die 'asciinema is missing; on Debian: apt-get install asciinema'
((EUID == 0)) || die 'run it as root: without a node the demo leaves out the defragmentation'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Built before anything is recorded, the images too.
cargo build --locked --bins --example demo --example recording
ETCD_DEFRAG_CONTROLPLANE_BIN=$(scripts/controlplane.sh)
ETCD_DEFRAG_IMAGE=${ETCD_DEFRAG_IMAGE:-$(scripts/image.sh --quick)}
export ETCD_DEFRAG_CONTROLPLANE_BIN ETCD_DEFRAG_IMAGE
examples=${CARGO_TARGET_DIR:-target}/debug/examples
# The size of the recording is that of the terminal.
ASCIINEMA_CONFIG_HOME=$work asciinema rec --quiet --cols 128 --rows 36 --command "$examples/demo" "$work/raw.cast"
"$examples/recording" "$work/raw.cast" docs
