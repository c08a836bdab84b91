#!/usr/bin/env bash
# Shows what this program makes of manifests and charts that lie on this machine: the
# table that tests/fixtures/charts holds is made again with it when charts change.
#
#   scripts/field.sh [-l] PATH...   a manifest, a folder of manifests, or a Helm chart
#
# -l gives each StatefulSet of an etcd the label first, so that a chart is checked as it is.
# For each: the comment at its head, the findings, and the arguments of the run. A
# chart is rendered with its defaults, and with FIELD_VALUES (a values file) where
# that is set; what it depends on has to lie in its folder charts. Helm is taken
# from PATH, else from what the tests have built. Nothing is written beside them,
# and no cluster is asked. The results are in docs/field.md.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly namespace=field
readonly program=${FIELD_PROGRAM:-${CARGO_TARGET_DIR:-target}/debug/etcd-defrag-webhook}

label=
[ "${1:-}" != -l ] || { label=1; shift; }
[ $# -gt 0 ] || { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

# The manifest with the label on each StatefulSet that has to do with etcd, as a stream of JSON.
labelled() {
  if [ -z "$label" ]; then cat; return; fi
  python3 -c '
import sys, yaml, json
for document in yaml.safe_load_all(sys.stdin):
    for item in (document or {}).get("items", [document]):
        if item and item.get("kind") == "StatefulSet" and "etcd" in json.dumps(item["spec"]["template"]["spec"]["containers"]):
            item["metadata"].setdefault("labels", {})["etcd-defrag.io/enabled"] = "true"
    if document:
        print("---"); print(json.dumps(document))
'
}

# The path of Helm.
helm() {
  type -P helm || echo "$(scripts/controlplane.sh --print-path)/helm"
}

# One manifest on standard input, under the name of $1.
show() {
  local manifest
  manifest=$(labelled)
  printf '== %s\n' "$1"
  "$program" check -n "$namespace" -f - <<<"$manifest" 2>&1 | sed '/^$/d;s/^stdin:[0-9]*: //;s/^/   /' || true
  "$program" render -n "$namespace" -f - -o json <<<"$manifest" 2>/dev/null | python3 -c '
import sys, json
text = sys.stdin.read()
for item in (json.loads(text)["items"] if text.strip() else []):
    if item["kind"] == "CronJob":
        pod = item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        print("   runs:", " ".join(pod["containers"][0]["args"]))
        for volume in pod.get("volumes", []):
            print("   file:", json.dumps({k: v for k, v in volume.items() if k != "name"}))
        for variable in pod["containers"][0].get("env", []):
            print("   env: ", json.dumps(variable))
' || true
}

for path in "$@"; do
  if [ -f "$path/Chart.yaml" ]; then
    rendered=$("$(helm)" template field "$path" --namespace "$namespace" ${FIELD_VALUES:+-f "$FIELD_VALUES"})
    show "$path" <<<"$rendered"
  elif [ -d "$path" ]; then
    for file in "$path"/*.yaml; do
      sed -n '/^#/!q;p' "$file"
      show "$file" <"$file"
    done
  else
    sed -n '/^#/!q;p' "$path"
    show "$path" <"$path"
  fi
done
