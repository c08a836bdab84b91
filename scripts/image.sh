#!/usr/bin/env bash
# Makes the project's image: the static binary and nothing else, run as a user
# that is not root. No daemon and no base image is needed.
#
#   scripts/image.sh [--architecture amd64|arm64]   default: this machine's
#   scripts/image.sh --quick                        of a program that was optimised less, for tests
#   scripts/image.sh --check-reproducible           builds it a second time, in another folder, and compares
#
# Standard output is the path of the archive and nothing else; name, digest, size
# and files are on standard error. "docker load", podman, containerd, kind and
# crane take the archive.
#
# From the environment, or else from git: SOURCE_DATE_EPOCH, IMAGE_REVISION.
# IMAGE_SOURCE is the address of the sources; without it there is no such label.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'image: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# of_package KEY: what Cargo.toml says.
of_package() { awk -F ' = ' -v key="$1" '$1 == key { gsub(/"/, "", $2); print $2; exit }' Cargo.toml; }

# in_git DEFAULT COMMAND...: what git says, or DEFAULT where there is no history.
in_git() {
  local default=$1
  shift
  git "$@" 2>/dev/null || echo "$default"
}

revision() {
  local changed=''
  [[ -z $(in_git '' status --porcelain --untracked-files=no) ]] || changed=-changed
  echo "$(in_git unknown rev-parse HEAD)$changed"
}

make_image() {
  local architecture=$1 binary version archive tool
  binary=$(scripts/release-binary.sh "$architecture" "$profile")
  version=$(of_package version)
  local folder suffix=''
  [[ $profile == release ]] || suffix=-$profile
  folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/image
  archive=$folder/etcd-defrag-webhook-$version-$architecture$suffix.tar
  tool=$folder/tool
  mkdir -p "$folder"
  # One at a time.
  exec 9>"$folder/lock"
  flock 9
  (cd tests/controlplane && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$tool" ./image) >&2

  local labels=(
    "title=etcd-defrag-webhook"
    "description=$(of_package description)"
    "licenses=$(of_package license)"
    "version=$version"
    "revision=$IMAGE_REVISION"
    "created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
  )
  [[ -z ${IMAGE_SOURCE:-} ]] || labels+=("source=$IMAGE_SOURCE" "url=$IMAGE_SOURCE")
  "$tool" --bare --report --architecture "$architecture" --created "$SOURCE_DATE_EPOCH" \
    "${labels[@]/#/--label=org.opencontainers.image.}" \
    --name "etcd-defrag-webhook:$version" --out "$archive" "$binary=/etcd-defrag-webhook" >&2
  exec 9>&-
  printf '%s\n' "$archive"
}

# The second build has another folder of sources, another one of crates, and no
# cache: whatever of them is left in the program makes it another program.
check_reproducible() {
  local architecture=$1 first second
  first=$(make_image "$architecture")
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  local copy=$work/quite/another/folder/with-a-longer-name
  mkdir -p "$copy" "$work/cargo"
  git ls-files -z | tar --null --files-from=- --create | tar --extract --directory "$copy"
  ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/cargo/registry"
  say "building again in $copy, without a cache"
  second=$(env -u CARGO_TARGET_DIR CARGO_HOME="$work/cargo" "$copy/scripts/image.sh" --architecture "$architecture")
  if ! cmp "$first" "$second" >&2; then
    local kept=${first%.tar}-other.tar
    cp "$second" "$kept"
    die "the two builds differ, so nobody can tell that a released image is made of these sources; compare $first and $kept"
  fi
  say "reproducible: two builds from two folders are equal, sha256 $(sha256sum "$first" | cut -d ' ' -f 1)"
  printf '%s\n' "$first"
}

main() {
  local architecture='' command=make_image profile=release
  while (($#)); do
    case $1 in
      --quick) profile=quick ;;
      --check-reproducible) command=check_reproducible ;;
      --architecture) architecture=${2:?--architecture needs a value: amd64 or arm64}; shift ;;
      *) die "unknown argument $1 (known: --architecture, --quick, --check-reproducible)" ;;
    esac
    shift
  done
  command -v go >/dev/null || die "go is missing; install Go and put it on PATH (it builds the program that makes images)"
  [[ $architecture ]] || architecture=$(go env GOARCH)
  export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(in_git 0 log -1 --format=%ct)}
  export IMAGE_REVISION=${IMAGE_REVISION:-$(revision)}
  "$command" "$architecture"
}

main "$@"
