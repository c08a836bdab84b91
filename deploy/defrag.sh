#!/bin/sh
# In place of kamaji-etcd's defrag.sh: the same flags, and like it this applies
# the CronJob at once. Settings that would hurt the etcd are refused.
#
#   defrag.sh [-e etcd_name] [-s etcd_service] [-n namespace] [-j schedule]
#
# DEBUG=1 traces every step.
set -eu

program=etcd-defrag-webhook

if ! command -v "$program" >/dev/null 2>&1; then
    echo "defrag.sh: $program is not on PATH." >&2
    echo "Build it with \"cargo install --locked --path .\" in its repository, or copy it out of its container image." >&2
    exit 2
fi

exec "$program" cronjob --apply "$@"
