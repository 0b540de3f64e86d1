#!/usr/bin/env bash
# Installs Azure's Node.js SDKs, pinned by package-lock.json, into the cache, and prints the folder of their modules.
set -euo pipefail
cd "$(dirname "$0")/../node"
. ../tools/cache.sh

install() {
  cp package.json package-lock.json "$1"
  # No package here needs to run a script of its own to be installed.
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
}

once node "$(hash package.json package-lock.json)" install
echo "$folder/node_modules"
