#!/usr/bin/env bash
# For machines whose Rust toolchain has no wasm32-unknown-unknown and can't fetch it: Debian's compiler with that backend, its standard
# library's source and its linker, unpacked into the cache. Needs no root and changes nothing of the machine. Prints the folder.
set -euo pipefail
cd "$(dirname "$0")"
. ../e2e/tools/cache.sh

# The upstream version. Debian's revisions of it, which follow security updates, are all good; an update of this line is a look at the page.
pinned=1.96.0

advice="On this machine run \`rustup target add wasm32-unknown-unknown\`."
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "no compiler for WebAssembly, and no Debian to take one from. $advice" >&2; exit 1; }

revision=$(apt-cache madison rustc-web | awk '{ print $3 }' | grep "^$pinned+" | sort --version-sort | tail -n 1) || true
if [ -z "$revision" ]; then
  echo "Debian's package lists have no rustc-web $pinned here: run \`apt-get update\`, or look whether it is Debian 12 with its security archive. $advice" >&2
  exit 1
fi

unpack() {
  local llvm packages package debs=$1/debs
  local std="libstd-rust-web-${pinned%.*}"
  # The compiler's LLVM says which linker is its own.
  llvm=$(apt-cache show "$std=$revision" | grep -oE 'libllvm[0-9]+' | head -n 1 | grep -oE '[0-9]+')
  packages=("rustc-web=$revision" "rust-web-src=$revision" "$std=$revision" "libstd-rust-web-dev=$revision" "lld-$llvm" "libllvm$llvm")
  # Libraries that the compiler needs and this machine has not.
  while read -r package; do
    packages+=("$package")
  done < <(apt-get install --simulate --no-install-recommends "rustc-web=$revision" "lld-$llvm" 2>/dev/null |
    awk '/^Inst/ { print $2 }' | grep -vE '^(rustc-web|rust-web-src|libstd-rust-web.*|lld-[0-9]+|libllvm[0-9]+)$' || true)
  mkdir "$debs"
  (cd "$debs" && apt-get download --quiet --quiet "${packages[@]}" >&2)
  for package in "$debs"/*.deb; do
    # Of the source the library is enough.
    case $package in
      */rust-web-src_*) dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$1" --wildcards './usr/lib/*' './usr/src/*/library' ;;
      *) dpkg-deb --extract "$package" "$1" ;;
    esac
  done
  rm -r "$debs"
  mkdir "$1/bin"
  for package in rustc "wasm-ld-$llvm"; do
    cat >"$1/bin/${package%"-$llvm"}" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
LD_LIBRARY_PATH=\$(echo "\$here"/usr/lib/*-linux-gnu) exec "\$here/usr/bin/$package" "\$@"
WRAPPER
    chmod +x "$1/bin/${package%"-$llvm"}"
  done
}

once wasm-compiler "$revision" unpack
echo "$folder"
