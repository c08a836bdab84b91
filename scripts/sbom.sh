#!/usr/bin/env bash
# Writes the bill of materials of the release binary, as CycloneDX in JSON, and
# checks that it names every crate that is in the binary. Prints its path.
#
#   scripts/sbom.sh [ARCHITECTURE]   amd64 or arm64; default: this machine's
#
# It lies beside the archive of the image, under the same name. Standard output is
# the path and nothing else.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'sbom: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The crates that cargo-auditable has listed in a binary, as NAME@VERSION; those
# that only ran while it was built are left out.
crates_in() {
  rust-audit-info "$1" | sed 's/},{/}\n{/g' | grep -v '"kind":"build"' |
    sed -n 's/.*"name":"\([^"]*\)","version":"\([^"]*\)".*/\1@\2/p' | LC_ALL=C sort -u
}

# The crates that the bill names.
crates_of() { grep -o '"pkg:cargo/[^"?#]*' "$1" | sed 's|"pkg:cargo/||; s|%2B|+|g' | LC_ALL=C sort -u; }

main() {
  local architecture=${1:-} tools binary target version
  case ${architecture:=$(go env GOARCH)} in
    amd64) target=x86_64-unknown-linux-gnu ;;
    arm64) target=aarch64-unknown-linux-gnu ;;
    *) die "unknown architecture $architecture (known: amd64, arm64)" ;;
  esac
  tools=$(scripts/tools.sh cargo-cyclonedx rust-audit-info)
  PATH=$tools:$PATH
  binary=$(scripts/release-binary.sh "$architecture")
  version=$(awk -F '"' '/^version/ { print $2; exit }' Cargo.toml)
  local folder sbom=etcd-defrag-webhook-$version-$architecture
  folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/image
  mkdir -p "$folder"
  # The time of the commit, so that equal sources have equal bills.
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} \
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps --override-filename "$sbom" >&2
  # Where the sources lay on this machine is nobody's business, and would make each bill another one.
  sed "s|path+file://$PWD|path+file:///src|g" "$sbom.json" >"$folder/$sbom.cdx.json"
  rm "$sbom.json"
  sbom=$folder/$sbom.cdx.json

  local missing unknown
  missing=$(LC_ALL=C comm -23 <(crates_in "$binary") <(crates_of "$sbom"))
  [[ -z $missing ]] || die "crates that are in $binary are not in $sbom, so nobody would learn of their vulnerabilities: ${missing//$'\n'/, }"
  unknown=$(LC_ALL=C comm -13 <(crates_in "$binary") <(crates_of "$sbom"))
  [[ -z $unknown ]] || say "named besides, and not in the binary: ${unknown//$'\n'/, }"
  say "$(crates_of "$sbom" | wc -l) crates, $(crates_in "$binary" | wc -l) of them in the binary"
  printf '%s\n' "$sbom"
}

main "$@"
