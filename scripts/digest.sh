#!/usr/bin/env bash
# Prints IMAGE@sha256:…, with the digest that the registry gives now. Where it gives none, that is an error and nothing is
# printed.
#
#   scripts/digest.sh IMAGE      such as ghcr.io/ahrtr/etcd-defrag:v0.42.0; needs crane
set -euo pipefail

image=${1:?usage: scripts/digest.sh IMAGE}
digest=$(crane digest "$image") || { printf 'digest: error: the registry does not say what %s is\n' "$image" >&2; exit 1; }
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { printf 'digest: error: %q is no digest of %s\n' "$digest" "$image" >&2; exit 1; }
printf '%s@%s\n' "$image" "$digest"
