#!/usr/bin/env bash
# Builds what the end-to-end tests run against (tests/controlplane): Kubernetes,
# etcd and kubectl in one binary; containerd, CoreDNS and the network plugins of
# the node; the images of its pods; Helm and cert-manager. Prints the folder with
# the programs.
#
# The node needs runc and iptables besides. Where this runs as root on a machine
# with apt-get they are installed; elsewhere the node's tests say what is missing.
#
#   scripts/controlplane.sh               build unless cached, print the folder
#   scripts/controlplane.sh --print-path  print the folder; exit 3 if not built
#
# Standard output is the folder and nothing else; progress is on standard error.
# The cache is $ETCD_DEFRAG_CACHE, or etcd-defrag-webhook in the user's cache.
set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly script=$root/scripts/controlplane.sh
readonly source_dir=$root/tests/controlplane
readonly cache=${ETCD_DEFRAG_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set, and neither is ETCD_DEFRAG_CACHE}/.cache}/etcd-defrag-webhook}/controlplane
readonly programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd etcdctl)
readonly packages=(
  . ./etcd ./coredns ./pause ./cert-manager
  helm.sh/helm/v4/cmd/helm
  github.com/containerd/containerd/v2/cmd/containerd
  github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
  github.com/containernetworking/plugins/plugins/{main/bridge,main/loopback,ipam/host-local}
)
# What is left out of containerd needs headers of file systems that few have.
readonly tags=no_btrfs,no_zfs,no_devmapper
# Builds that nobody used for this many days are removed after the next build.
readonly keep_days=14
# Seconds between two lines of progress where there is no terminal.
readonly quiet_interval=20

say() { printf 'controlplane: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

check_tools() {
  [[ $(uname -s) == Linux ]] || die "the test control plane runs on Linux only"
  local tool
  for tool in flock sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is missing; install it with the system's package manager"
  done
  local wanted
  wanted=$(awk '$1 == "go" { print $2; exit }' "$source_dir/go.mod")
  command -v go >/dev/null || die "go is missing; install Go $wanted or newer and put it on PATH"
  # Inside the module, so that the go command may choose a newer toolchain.
  go_version=$(cd "$source_dir" && go env GOVERSION 2>&1) ||
    die "Go $wanted or newer is needed: $go_version"
  local have=${go_version#go}
  [[ $(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1) == "$wanted" ]] ||
    die "Go $wanted or newer is needed, and this is $have"
}

# A build is named by everything that goes into it.
content_hash() {
  (
    cd "$source_dir"
    echo "$go_version $(go env GOOS GOARCH GOAMD64 GOARM64 | tr '\n' ' ')"
    sha256sum <"$script"
    find . -type f \( -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum \) -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  ) | sha256sum | cut -c 1-16
}

elapsed() {
  local seconds=$((SECONDS - began))
  if ((seconds < 60)); then echo "$seconds s"; else echo "$((seconds / 60)) min $((seconds % 60)) s"; fi
}

# Shows the progress of the background job $1 until it ends and returns its
# status. $2 is its log, $3 the command that describes the state.
watch_job() {
  local job=$1 log=$2 describe=$3 last=$SECONDS status=0
  while kill -0 "$job" 2>/dev/null; do
    sleep 1
    if [[ -t 2 ]]; then
      printf '\r\033[Kcontrolplane: %s, %s' "$("$describe" "$log")" "$(elapsed)" >&2
    elif ((SECONDS - last >= quiet_interval)); then
      last=$SECONDS
      say "$("$describe" "$log"), $(elapsed)"
    fi
  done
  wait "$job" || status=$?
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
  return "$status"
}

# The version of a module in go.mod.
version_of() { awk -v module="$1" '$1 == module { print $2; exit }' "$source_dir/go.mod"; }

count() { grep -c "$1" "$2" || true; }
describe_download() { echo "fetching modules: $(count '^go: downloading' "$1") so far"; }
describe_build() {
  # The program's own package is the last.
  if grep -qx controlplane "$1"; then
    echo "linking"
  else
    # A package is a line without a space; messages of the compiler have some.
    # Packages of an earlier build are reused and are not among those compiled.
    echo "compiled $(count '^[^# ]*$' "$1") of at most $total packages"
  fi
}

build() {
  local into=$1 log=$work/log kubernetes
  kubernetes=$(version_of k8s.io/kubernetes)
  local major minor
  IFS=. read -r major minor _ <<<"${kubernetes#v}"
  local package stamp="-s -w"
  # Without these the programs report version v0.0.0.
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
    stamp+=" -X $package.gitCommit=unknown -X $package.gitTreeState=clean"
  done
  stamp+=" -X helm.sh/helm/v4/internal/version.version=$(version_of helm.sh/helm/v4)"

  began=$SECONDS
  cd "$source_dir"
  export CGO_ENABLED=0
  go list -deps -tags "$tags" "${packages[@]}" >"$work/packages" 2>"$log" &
  job=$!
  watch_job "$job" "$log" describe_download || { tail -n 20 "$log" >&2; die "the modules could not be fetched"; }
  total=$(wc -l <"$work/packages")

  go build -v -trimpath -buildvcs=false -tags "$tags" -ldflags "$stamp" -o "$into/" "${packages[@]}" >"$log" 2>&1 &
  job=$!
  watch_job "$job" "$log" describe_build || { grep '[# ]' "$log" | tail -n 40 >&2; die "the build failed"; }
  mkdir "$work/images"
  mv "$into/etcd" "$into/pause" "$work/images"
  local program
  for program in "${programs[@]}"; do
    ln -s controlplane "$into/$program"
  done
  # The version in the tag, since the program under test reads it there.
  image "etcd:$(version_of go.etcd.io/etcd/server/v3)" etcd=/usr/local/bin/etcd etcd=/usr/local/bin/etcdctl etcd=/usr/local/bin/etcd-load
  image pause:test pause=/pause
  # The definitions that a cluster needs for the Certificates of tests.
  cat "$(go list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)"/deploy/crds/cert-manager.io_*.yaml >"$into/cert-manager-crds.yaml"
  say "built in $(elapsed), $(du -sm "$into" | cut -f 1) MB"
}

# Makes the image localhost/$1 (NAME:TAG), in the archive NAME.tar, of programs in $work/images.
image() {
  local name=$1 file files=()
  shift
  for file; do files+=("$work/images/$file"); done
  "$into/controlplane" image --out "$into/${name%%:*}.tar" --name "localhost/$name" "${files[@]}"
}

# The node's tests run where these are, and say so where they are not.
install_node_packages() {
  local program missing=()
  for program in runc iptables; do command -v "$program" >/dev/null || missing+=("$program"); done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    say "${missing[*]} not found: tests that need a node will be skipped"
    return 0
  fi
  say "installing ${missing[*]}, which the test node needs"
  # An image of a machine may come without package lists.
  { apt-get install -qq -y --no-install-recommends "${missing[@]}" ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; }; } >&2 ||
    say "${missing[*]} could not be installed: tests that need a node will be skipped"
}

clean_up() {
  [[ -z ${job:-} ]] || kill "$job" 2>/dev/null || true
  [[ -z ${work:-} ]] || rm -rf "$work"
}

main() {
  local print_only=false
  case ${1:-} in
    '') ;;
    --print-path) print_only=true ;;
    *) die "unknown argument $1 (known: --print-path)" ;;
  esac
  check_tools
  local built
  built=$cache/$(content_hash)
  if [[ ! -x $built/bin/controlplane ]]; then
    if "$print_only"; then
      say "not built yet; run scripts/controlplane.sh"
      exit 3
    fi
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    if ! flock -n 9; then
      say "another build is under way; waiting for it"
      flock 9
    fi
  fi
  # Looked at again: the build that was waited for may have been this one.
  if [[ ! -x $built/bin/controlplane ]]; then
    say "building the test control plane and node (Kubernetes, etcd, containerd, Helm from source): about 15 minutes on 2 cores, once;"
    say "less when Go has compiled most of it before. Then it is cached in $built"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    work=$(mktemp -d "$cache/building.XXXXXX")
    mkdir "$work/bin"
    build "$work/bin"
    mkdir "$work/done"
    mv "$work/bin" "$work/done/bin"
    # One rename: readers see all of it or nothing.
    mv -T "$work/done" "$built"
    find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime "+$keep_days" -exec rm -rf {} +
  fi
  "$print_only" || install_node_packages
  # Used today; see keep_days.
  touch -c "$built" 2>/dev/null || true
  echo "$built/bin"
}

main "$@"
