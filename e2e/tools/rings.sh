#!/usr/bin/env bash
# rings.sh [TEST...]: runs the end-to-end rings, all or those whose names hold one of the words, against $MOORING_HUB_BIN.
#
# They need namespaces: root has the right to make them; anybody else gets it inside a user namespace of their own.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
MOORING_PYTHON=$("$tools/python.sh")
MOORING_NODE_PATH=$("$tools/node.sh")
export MOORING_PYTHON MOORING_NODE_PATH
# An error tells its story in words.
export RUST_LIB_BACKTRACE=0

cargo test --quiet --workspace --test rings --no-run
own=()
[ "$(id -u)" = 0 ] || own=(unshare --map-root-user --net --mount --)
# Most of a story is waiting for somebody else's interpreter to start: more at once than there are processors.
exec "${own[@]}" cargo test --quiet --offline --workspace --test rings -- --test-threads "${MOORING_STORIES:-4}" "$@"
