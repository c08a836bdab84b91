#!/usr/bin/env bash
# Pushes the images that scripts/image.sh has made, and an index of them, with
# crane, and prints their digests as KEY=VALUE: amd64, arm64, digest (the index).
#
#   scripts/push.sh IMAGE VERSION FOLDER
#
# The digests are those that scripts/image.sh printed: nothing is made anew.
set -euo pipefail
shopt -s inherit_errexit

image=${1:?usage: scripts/push.sh IMAGE VERSION FOLDER} version=${2:?VERSION is missing} folder=${3:?FOLDER is missing}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

manifests=()
for archive in "$folder"/etcd-defrag-webhook-"$version"-*.tar; do
  architecture=${archive##*-}
  architecture=${architecture%.tar}
  mkdir "$work/$architecture"
  tar --extract --file "$archive" --directory "$work/$architecture"
  # As a layout: from the archive itself crane would make a manifest of its own, without annotations.
  pushed=$(crane push "$work/$architecture" "$image:$version-$architecture")
  echo "$architecture=${pushed##*@}"
  manifests+=(--manifest "$pushed")
done
crane index append "${manifests[@]}" --tag "$image:$version" >&2
echo "digest=$(crane digest "$image:$version")"
