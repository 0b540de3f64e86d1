#!/usr/bin/env bash
# stories-on-kubernetes.sh IMAGES [TEST...]: runs the stories that need Kubernetes, all or those whose names hold one of the words: brings up a cluster
# (see cluster.sh) with the images in the folder IMAGES, and an API server without nodes, and takes both down again, whatever happens.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
. "$tools/cluster.sh"
built=$("$kubernetes/build.sh")
export PATH=$built/bin:$PATH
MOORING_PYTHON=$("$tools/python.sh")
MOORING_NODE_PATH=$("$tools/node.sh")
export MOORING_PYTHON MOORING_NODE_PATH
export RUST_LIB_BACKTRACE=0
images=$1
shift

down() {
  local status=$?
  trap '' INT TERM
  if [ $status != 0 ]; then
    export KEEP_LOGS=$cache/logs-of-kubernetes
    rm -rf "$KEEP_LOGS"
    echo "the logs of Kubernetes itself are in $KEEP_LOGS" >&2
  fi
  if [ -n "${api_server:-}" ]; then "$kubernetes/down.sh" "$api_server"; fi
  cluster_down
}
trap down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cargo test --quiet --workspace --test kubernetes --no-run
cluster_up $$
cluster_load "$images"/*.tar
api_server=$("$kubernetes/up.sh" api $$)
MOORING_CLUSTER_KUBECONFIG=$KUBECONFIG
MOORING_API_SERVER_KUBECONFIG=$cache/clusters/$api_server/kubeconfig
MOORING_HUB_IMAGE=$(sed -n 's/ .*mooring-hub.tar$//p' "$images/names")
MOORING_OPERATOR_IMAGE=$(sed -n 's/ .*mooring-operator.tar$//p' "$images/names")
export MOORING_CLUSTER_KUBECONFIG MOORING_API_SERVER_KUBECONFIG MOORING_HUB_IMAGE MOORING_OPERATOR_IMAGE
# As in rings.sh; the network is the machine's.
own=()
[ "$(id -u)" = 0 ] || own=(unshare --map-root-user --mount --)
"${own[@]}" cargo test --quiet --offline --workspace --test kubernetes -- --test-threads "${MOORING_STORIES:-4}" "$@"
