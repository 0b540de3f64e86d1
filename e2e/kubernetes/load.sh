#!/usr/bin/env bash
# load.sh NAME ARCHIVE...: gives images to the node of a cluster that up.sh has brought up.
set -euo pipefail
export MOORING_CLUSTER=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
bin=$("$here/build.sh")/bin
shift
# containerd's socket is inside the cluster's mounts; process 1 of the cluster is the one child of its keeper.
inside=$(pgrep --parent "$(cat "$state/cluster.pid")")
for archive in "$@"; do
  nsenter --target "$inside" --mount "$bin/ctr" --address /run/containerd/containerd.sock --namespace k8s.io images import "$archive" >"$logs/load.log" 2>&1 || { cat "$logs/load.log" >&2; exit 1; }
done
