#!/bin/sh
# Takes the place of kamaji-etcd's defrag.sh: the same flags, and like that script
# it applies the CronJob at once, to the cluster of the current kubeconfig.
#
#   defrag.sh [-e etcd_name] [-s etcd_service] [-n namespace] [-j schedule]
#
# DEBUG=1 traces every step. ETCD_DEFRAG_WEBHOOK names the program where it is not
# on PATH.
set -eu

program=${ETCD_DEFRAG_WEBHOOK:-etcd-defrag-webhook}
if ! command -v "$program" >/dev/null 2>&1; then
  cat >&2 <<TEXT
defrag.sh: $program is not on PATH, and this script only calls it. In a checkout of the project run
  cargo install --locked --path .
or name a built one: ETCD_DEFRAG_WEBHOOK=target/release/etcd-defrag-webhook $0
TEXT
  exit 2
fi
exec "$program" cronjob --apply "$@"
