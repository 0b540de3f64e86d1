#!/usr/bin/env bash
# images.sh FOLDER: builds the images of the hub and the operator from their binaries, and writes them to FOLDER as archives,
# mooring-hub.tar and mooring-operator.tar; `names` beside them holds a line for each, its name and its archive, which is printed too.
#
# MOORING_HUB_BIN, MOORING_OPERATOR_BIN: the binaries. MOORING_IMAGES: what comes before the names (localhost). MOORING_IMAGE_TAG: the tag
# (the version).
set -euo pipefail
deploy=$(cd "$(dirname "$0")" && pwd)
. "$deploy/container.sh"
out=$(mkdir -p "${1:?images.sh FOLDER}" && cd "$1" && pwd)
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' "$deploy/../Cargo.toml")
revision=$(git -C "$deploy" rev-parse HEAD 2>/dev/null || echo unknown)

# prepare BINARY ROOT: a root file system that holds what the binary needs, and nothing else.
prepare() {
  local binary=$1 root=$2 library
  mkdir -p "$root"/{etc/ssl/certs,tmp,usr/bin,var/lib/mooring}
  chmod 1777 "$root/tmp"
  strip --strip-debug -o "$root/usr/bin/$(basename "$binary")" "$binary"
  # The loader is named by the binary itself, the libraries by the loader.
  ldd "$binary" | grep -oE '/[^ ]+' | while read -r library; do install -D "$library" "$root$library"; done
  echo 'mooring:x:65532:65532:mooring:/var/lib/mooring:/sbin/nologin' >"$root/etc/passwd"
  echo 'mooring:x:65532:' >"$root/etc/group"
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"; fi
}

# image NAME CONTAINERFILE BINARY
image() {
  local name=${MOORING_IMAGES:-localhost}/$1:${MOORING_IMAGE_TAG:-$version} work
  [ -x "$3" ] || { echo "no $3: cargo build --workspace --bins" >&2; return 1; }
  work=$(mktemp -d)
  prepare "$3" "$work/root"
  cp "$2" "$work/Containerfile"
  build_image "$out/$1.tar" "$name" "$work" "VERSION=$version" "REVISION=$revision"
  rm -rf "$work"
  echo "$name $out/$1.tar" | tee -a "$out/names"
}

rm -f "$out/names"
binaries=${CARGO_TARGET_DIR:-$deploy/../target}/debug
image mooring-hub "$deploy/../hub/Containerfile" "${MOORING_HUB_BIN:-$binaries/mooring-hub}"
image mooring-operator "$deploy/../operator/Containerfile" "${MOORING_OPERATOR_BIN:-$binaries/mooring-operator}"
