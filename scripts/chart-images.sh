#!/usr/bin/env bash
# Puts the digests of both images into the values of a chart that is about to be released: our own, which was just pushed, and
# the engine's, which runs where no policy names one. The registry is asked for each, and where it gives none, or another one
# for ours than was pushed, this fails and the chart stays as it was. No digest is written by hand anywhere.
#
# SOURCE is the URL of the repository. The released chart has its links from it: home, sources, icon, and the runbooks in alerts.
#
#   scripts/chart-images.sh CHART IMAGE VERSION DIGEST SOURCE      needs crane and helm
set -euo pipefail
shopt -s inherit_errexit

chart=${1:?usage: scripts/chart-images.sh CHART IMAGE VERSION DIGEST SOURCE} image=${2:?IMAGE is missing}
version=${3:?VERSION is missing} digest=${4:?DIGEST is missing} source=${5:?SOURCE is missing}
here=$(dirname "${BASH_SOURCE[0]}")

die() { printf 'chart-images: error: %s\n' "$*" >&2; exit 1; }

[[ $source == https://* ]] || die "$source is no https URL of a repository"
own=$("$here/digest.sh" "$image:$version")
[[ $own == "$image:$version@$digest" ]] || die "$digest was pushed, and the registry has $own"
default=$(awk '$1 == "etcd-defrag.io/engine-image:" { print $2; exit }' "$chart/Chart.yaml")
[[ $default ]] || die "Chart.yaml names no image of the engine"
engine=$("$here/digest.sh" "$default")

values=$(sed \
  -e "/^image:/,/^[a-zA-Z]*Secrets:/ { s|^  repository: .*|  repository: $image|; s|^  digest: .*|  digest: $digest| }" \
  -e "/^engineImage:/,/^tls:/ s|^  digest: .*|  digest: ${engine#*@}|" \
  -e "s|^    runbookUrl: .*|    runbookUrl: $source/blob/v$version/docs/runbooks|" \
  "$chart/values.yaml")
rendered=$(helm template release "$chart" --set metrics.rules.enabled=true --values - <<<"$values")
for line in "image: $image@$digest" "--engine-image=$engine" "runbook_url: $source/blob/v$version/docs/runbooks/EtcdDefragNoSpace.md"; do
  grep -qF -- "$line" <<<"$rendered" || die "the chart does not render $line"
done
printf '%s\n' "$values" >"$chart/values.yaml"
cat >>"$chart/Chart.yaml" <<END
home: $source
sources:
  - $source
icon: $source/raw/v$version/deploy/chart/icon.svg
END
