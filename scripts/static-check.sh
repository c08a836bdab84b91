#!/usr/bin/env bash
# Says how large a program is and fails unless it is statically linked.
#
#   scripts/static-check.sh PROGRAM
set -euo pipefail

program=${1:?usage: scripts/static-check.sh PROGRAM}
bytes=$(stat --dereference --format %s "$program")
printf '%s: %d bytes (%d.%d MiB)\n' "$program" "$bytes" $((bytes / 1048576)) $((bytes % 1048576 * 10 / 1048576))

# ldd exits with 1 for what is not dynamic at all, and with 0 for a static PIE.
linkage=$(LC_ALL=C ldd "$program" 2>&1) || true
case $linkage in
  *'statically linked'* | *'not a dynamic executable'*) echo "statically linked (ldd: ${linkage#"${linkage%%[![:space:]]*}"})" ;;
  *)
    printf 'error: it is not static, it needs:\n%s\n' "$linkage" >&2
    exit 1
    ;;
esac
