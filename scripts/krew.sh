#!/usr/bin/env bash
# Makes the archives of the kubectl plugin and the manifest that krew installs it by, from the binaries of a release.
#
#   scripts/krew.sh VERSION SOURCE FOLDER    SOURCE is the URL of the repository
#
# FOLDER has etcd-defrag-webhook-linux-ARCHITECTURE for amd64, arm64 or both, and gets kubectl-etcd_defrag-linux-ARCHITECTURE.tar.gz
# and etcd-defrag.yaml. The same binaries make the same bytes. No digest is written by hand.
set -euo pipefail
shopt -s inherit_errexit nullglob

die() { printf 'krew: error: %s\n' "$*" >&2; exit 1; }

version=${1:?usage: scripts/krew.sh VERSION SOURCE FOLDER} source=${2:?SOURCE is missing} folder=${3:?FOLDER is missing}
license=$(dirname "${BASH_SOURCE[0]}")/../LICENSE
[[ $source == https://* ]] || die "$source is no https URL of a repository"
binaries=("$folder"/etcd-defrag-webhook-linux-*)
((${#binaries[@]})) || die "$folder has no etcd-defrag-webhook-linux-ARCHITECTURE"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
platforms=''
for binary in "${binaries[@]}"; do
  architecture=${binary##*-}
  name=kubectl-etcd_defrag-linux-$architecture.tar.gz
  install -m 0755 "$binary" "$work/kubectl-etcd_defrag"
  install -m 0644 "$license" "$work/LICENSE"
  tar --create --directory "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner LICENSE kubectl-etcd_defrag |
    gzip --no-name --best >"$folder/$name"
  platforms+="    - selector:
        matchLabels:
          os: linux
          arch: $architecture
      uri: $source/releases/download/v$version/$name
      sha256: $(sha256sum "$folder/$name" | cut -d ' ' -f 1)
      bin: kubectl-etcd_defrag
"
done
cat >"$folder/etcd-defrag.yaml" <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: etcd-defrag
spec:
  version: v$version
  homepage: $source
  shortDescription: Check and watch the defragmentation of etcds
  description: |
    Shows the etcds of a cluster that etcd-defrag-webhook keeps defragmented, their runs and what is wrong; checks StatefulSets and
    policies in manifests; explains schedules, rules and findings; pauses the runs of a whole fleet.
  platforms:
${platforms%$'\n'}
END
