#!/usr/bin/env bash
# Prints the folder with prometheus and promtool, which the tests of monitoring
# run: from PATH, from the cache, or else out of Debian's package, which is
# unpacked into the cache and not installed, so that no service is started.
#
# Exit 3, with the reason on standard error, where there is none to be had.
# The cache is $ETCD_DEFRAG_CACHE, or etcd-defrag-webhook in the user's cache.
set -euo pipefail
shopt -s inherit_errexit

readonly cache=${ETCD_DEFRAG_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set, and neither is ETCD_DEFRAG_CACHE}/.cache}/etcd-defrag-webhook}/prometheus

say() { printf 'prometheus: %s\n' "$*" >&2; }
none() { say "$*"; exit 3; }

works() { "$1/prometheus" --version >/dev/null 2>&1 && "$1/promtool" --version >/dev/null 2>&1; }

if installed=$(command -v prometheus) && works "$(dirname "$installed")"; then
  dirname "$installed"
  exit
fi
if works "$cache/usr/bin"; then
  echo "$cache/usr/bin"
  exit
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  none 'prometheus and promtool are not on PATH, and there is no apt-get to fetch them with; install Prometheus 2.42 or newer'
mkdir -p "$cache"
# Two tests at a time need not fetch it twice.
exec 9>"$cache.lock"
flock 9
if ! works "$cache/usr/bin"; then
  fresh=$(mktemp -d "$cache.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  say "fetching Debian's package into $cache"
  if ! (cd "$fresh" && apt-get -qq download prometheus >/dev/null 2>&1); then
    ((EUID == 0)) || none 'the lists of packages are missing; run apt-get update as root, or install Prometheus'
    apt-get -qq update >/dev/null 2>&1 || none 'apt-get update failed, so Debian'\''s package cannot be fetched'
    (cd "$fresh" && apt-get -qq download prometheus >/dev/null 2>&1) || none 'apt-get knows no package prometheus'
  fi
  dpkg-deb --extract "$fresh"/prometheus_*.deb "$fresh"
  works "$fresh/usr/bin" || none "Debian's package does not run on this machine"
  rm -f "$fresh"/*.deb
  rm -rf "$cache"
  mv "$fresh" "$cache"
  trap - EXIT
fi
echo "$cache/usr/bin"
