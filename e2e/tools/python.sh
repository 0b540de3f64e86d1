#!/usr/bin/env bash
# Installs Azure's Python SDKs, pinned by hash, into a virtual environment in the cache, and prints its interpreter.
set -euo pipefail
cd "$(dirname "$0")/../python"
. ../tools/cache.sh

install() {
  local folder=$1
  python3 -m venv "$folder" >&2
  local pip=("$folder/bin/python" -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps)
  "${pip[@]}" --requirement requirements-build.txt >&2
  "${pip[@]}" --no-build-isolation --requirement requirements.txt >&2
}

# An environment belongs to the interpreter that made it.
key=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$({ cat requirements-build.txt requirements.txt; python3 -c 'import sys; print(sys.executable)'; } | hash -)
once python "$key" install
echo "$folder/bin/python"
