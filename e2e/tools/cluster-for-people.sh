#!/usr/bin/env bash
# cluster-for-people.sh up IMAGES | down: a Kubernetes with the images in the folder IMAGES, which stays until it is told to go.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
. "$tools/cluster.sh"
remembered=$cache/cluster-for-people

up() {
  if [ -e "$remembered" ]; then
    echo "there is one already, of $(date -r "$remembered"): make cluster-down" >&2
    exit 1
  fi
  local built
  built=$("$kubernetes/build.sh")
  cluster_up people
  declare -p cluster KUBECONFIG >"$remembered"
  cluster_load "$1"/*.tar
  cat <<TEXT

  export KUBECONFIG=$KUBECONFIG PATH=$built/bin:\$PATH

The images above are on its node; kubectl and helm are in that PATH. Services are reached from here by their addresses.
TEXT
}

down() {
  [ -e "$remembered" ] || { echo "there is none" >&2; exit 0; }
  . "$remembered"
  cluster_down
  rm "$remembered"
}

"$@"
