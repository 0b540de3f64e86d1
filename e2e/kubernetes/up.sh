#!/usr/bin/env bash
# up.sh node|api OWNER: brings a cluster up and prints its name: `node` is a whole Kubernetes with one node (needs root), `api` the API server with its
# controllers alone. It is the property of the process OWNER, and goes when another is brought up after OWNER's end; OWNER `people` keeps it until
# down.sh takes it down.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
wanted=$1 owner=$2
built=$("$here/build.sh")
MOORING_CLUSTER=$wanted-0
. "$here/settings.sh"
clusters_max=4

# A process is itself by its id and the time of its start.
identity() {
  echo "$1 $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)"
}

# in_use NAME: whether somebody who is still there has a cluster of that name.
in_use() {
  local said
  said=$(cat "$clusters/$1/owner" 2>/dev/null) || return 1
  if [ "$said" = people ]; then
    kill -0 "$(cat "$clusters/$1/cluster.pid" "$clusters/$1/kube-apiserver.pid" 2>/dev/null | head -n 1)" 2>/dev/null
  else
    [ "$said" = "$(identity "${said%% *}")" ]
  fi
}

# Takes the first name that nobody uses, after clearing away what was left of it.
claim() {
  local number
  exec 8>"$cache/clusters.lock"
  flock 8
  for ((number = 0; number < clusters_max; number++)); do
    export MOORING_CLUSTER=$wanted-$number
    in_use "$MOORING_CLUSTER" && continue
    "$here/down.sh" "$MOORING_CLUSTER" 8>&-
    . "$here/settings.sh"
    mkdir -p "$logs"
    if [ "$owner" = people ]; then echo people; else identity "$owner"; fi >"$state/owner"
    # Whoever looks now must not think that people's cluster has gone: it hasn't come yet.
    echo $$ >"$state/cluster.pid"
    exec 8>&-
    return
  done
  echo "$clusters_max clusters run on this machine already: see $clusters, and end one with $here/down.sh NAME" >&2
  return 1
}

has_started() {
  grep -qx up "$logs/cluster.log" && return
  kill -0 "$(cat "$state/cluster.pid")" 2>/dev/null && return 1
  echo "the cluster ended before it was up:" >&2
  tail -n 20 "$logs/cluster.log" >&2
  exit 1
}

node_up() {
  "$here/network.sh" up
  # Everything that the cluster starts is inside: this process's end is the end of its Pods, mounts and packet rules.
  setsid nsenter --net="/run/netns/$network" unshare --mount --propagation slave --pid --fork --kill-child=KILL --mount-proc \
    "$here/node.sh" "$built" "$MOORING_CLUSTER" >"$logs/cluster.log" 2>&1 </dev/null &
  echo $! >"$state/cluster.pid"
  until_true 180 "the cluster's processes" has_started
  local kubectl=("$built/bin/kubectl" --kubeconfig "$state/kubeconfig")
  until_true 60 "the node to report" "${kubectl[@]}" get node "$node_name" >/dev/null 2>&1
  sed "s/DNS_ADDRESS/$dns_address/" "$here/manifests/coredns.yaml" | "${kubectl[@]}" apply --filename - >/dev/null
  "$here/volumes.sh" | "${kubectl[@]}" apply --filename - >/dev/null
  "${kubectl[@]}" wait --for=condition=Ready "node/$node_name" --timeout=120s >/dev/null
  "${kubectl[@]}" --namespace kube-system rollout status deployment/coredns --timeout=120s >/dev/null
}

claim
trap 'status=$?; [ $status = 0 ] || "$here/down.sh" "$MOORING_CLUSTER"' EXIT
"$here/certificates.sh"
if [ "$wanted" = node ]; then
  [ "$(id -u)" = 0 ] || { echo "Pods on this machine need root; else set KUBECONFIG, or install docker and kind." >&2; exit 1; }
  node_up >&2
else
  setsid "$here/control-plane.sh" "$built/bin" >&2
  rm "$state/cluster.pid"
fi
echo "$MOORING_CLUSTER"
