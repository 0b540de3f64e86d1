#!/usr/bin/env bash
# Says in one line which of the languages that `make test` needs are missing or too old.
set -uo pipefail

missing=()
# at_least NAME WANTED COMMAND...: COMMAND prints a version.
at_least() {
  local name=$1 wanted=$2 found
  shift 2
  found=$("$@" 2>/dev/null | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1)
  if [ -z "$found" ]; then
    missing+=("$name >= $wanted (not found)")
  elif [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort --version-sort | head -n 1)" != "$wanted" ]; then
    missing+=("$name >= $wanted (found $found)")
  fi
}

for language in "$@"; do
  case $language in
    rust) at_least Rust 1.95 cargo --version; command -v cc >/dev/null || missing+=("a C compiler and linker (gcc)") ;;
    go) at_least Go 1.26 go version ;;
    node) at_least Node.js 20.0 node --version; command -v npm >/dev/null || missing+=("npm") ;;
    python) at_least Python 3.10 python3 --version ;;
  esac
done
if [ ${#missing[@]} -gt 0 ]; then
  printf -v list '%s, ' "${missing[@]}"
  echo "Please install: ${list%, }." >&2
  exit 1
fi
