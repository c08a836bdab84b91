#!/usr/bin/env bash
# What the GitHub action of this repository runs (action.yml): `check -o github`, with exit code 1 where something is refused.
#
# From the environment: FILES, POLICY (one a line), STRICT, NAMESPACE, PROGRAM, and what GitHub sets: RUNNER_TEMP.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=${PROGRAM:-}
if [[ -z $program ]]; then
  root=${RUNNER_TEMP:?RUNNER_TEMP is not set, and neither is PROGRAM}/etcd-defrag-webhook
  cargo install --locked --path "$here" --root "$root" --bin etcd-defrag-webhook >&2
  program=$root/bin/etcd-defrag-webhook
fi
# lines VARIABLE: its lines that are not empty, in the array of the same name in lower case.
lines() { mapfile -t "${1,,}" < <(sed '/^[[:space:]]*$/d; s/^[[:space:]]*//; s/[[:space:]]*$//' <<<"${!1:-}"); }
lines FILES
lines POLICY
((${#files[@]})) || { echo '::error::etcd-defrag-webhook: the input files is empty; name a file or a folder'; exit 2; }
arguments=(check --recursive --output github --filename "${files[@]}")
((${#policy[@]} == 0)) || arguments+=(--policy "${policy[@]}")
[[ ${STRICT:-false} != true ]] || arguments+=(--strict)
[[ -z ${NAMESPACE:-} ]] || arguments+=(--namespace "$NAMESPACE")
exec "$program" "${arguments[@]}"
