#!/usr/bin/env bash
# Puts the digests of both images into the values of a chart that is about to be released: our own, which was just pushed, and
# the engine's, which is the default of DefragPolicy. The registry is asked for each, and where it gives none, or another one
# for ours than was pushed, this fails and the chart stays as it was. No digest is written by hand anywhere.
#
#   scripts/chart-images.sh CHART IMAGE VERSION DIGEST      needs crane and helm
set -euo pipefail
shopt -s inherit_errexit

chart=${1:?usage: scripts/chart-images.sh CHART IMAGE VERSION DIGEST} image=${2:?IMAGE is missing}
version=${3:?VERSION is missing} digest=${4:?DIGEST is missing}
here=$(dirname "${BASH_SOURCE[0]}")

die() { printf 'chart-images: error: %s\n' "$*" >&2; exit 1; }

own=$("$here/digest.sh" "$image:$version")
[[ $own == "$image:$version@$digest" ]] || die "$digest was pushed, and the registry has $own"
default=$(awk '$1 == "image:" { print $2; exit }' "$chart/files/defragpolicies.crd.yaml")
[[ $default ]] || die "the definition of DefragPolicy names no image"
engine=$("$here/digest.sh" "$default")

values=$(sed \
  -e "/^image:/,/^[a-zA-Z]*Secrets:/ { s|^  repository: .*|  repository: $image|; s|^  digest: .*|  digest: $digest| }" \
  -e "/^defaultPolicy:/,/^[a-z]*[A-Z]*[a-z]*Policy: / s|^  spec:\$|  spec:\\n    job:\\n      image: $engine|" \
  "$chart/values.yaml")
rendered=$(helm template release "$chart" --values - <<<"$values")
for line in "image: $image@$digest" "image: $engine"; do
  grep -qF "$line" <<<"$rendered" || die "the chart does not render $line"
done
printf '%s\n' "$values" >"$chart/values.yaml"
