# Sourced by the scripts of this folder: the names, addresses and places of one cluster. $MOORING_CLUSTER says which: node-0, node-1, …
# (with a node), or api-0, api-1, … (the API server and its controllers alone). Several can run side by side on one machine.
. "$(dirname "${BASH_SOURCE[0]}")/../tools/cache.sh"

clusters=$cache/clusters
kind=${MOORING_CLUSTER%-*}
number=${MOORING_CLUSTER#*-}
state=$clusters/$MOORING_CLUSTER
logs=$state/log

if [ "$kind" = node ]; then
  network=mooring-$number             # its network namespace, its cgroups and the host's end of the cable to it
  host_address=10.199.$number.1
  node_address=10.199.$number.2
  api_address=$node_address
else
  # All of 127/8 is this machine, so that every API server can have the usual ports.
  api_address=127.77.$number.1
fi
pods=10.$((244 + number)).0.0/24
services=10.$((96 + number)).0.0/16
first_service=10.$((96 + number)).0.1
dns_address=10.$((96 + number)).0.10
node_name=mooring-node
pause_image=localhost/pause:e2e

# until_true SECONDS WHAT COMMAND...: waits until COMMAND is true, at most so long.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    if [ $SECONDS -ge $deadline ]; then
      echo "waited in vain for $what" >&2
      return 1
    fi
    sleep 0.1
  done
}
