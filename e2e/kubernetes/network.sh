#!/usr/bin/env bash
# network.sh up|down: a cluster's network namespace. This machine reaches its node, its Pods and its Services by routes into it.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

up() {
  ip netns add "$network"
  ip link add "$network" type veth peer name eth0 netns "$network"
  ip address add "$host_address/24" dev "$network"
  ip link set "$network" up
  ip -n "$network" link set lo up
  ip -n "$network" address add "$node_address/24" dev eth0
  ip -n "$network" link set eth0 up
  ip -n "$network" route add default via "$host_address"
  ip route add "$pods" via "$node_address"
  ip route add "$services" via "$node_address"
  ip netns exec "$network" sysctl -qw net.ipv4.ip_forward=1
  # Where the kernel has bridge filtering, traffic between Pods has to pass through it, for Services to work.
  ip netns exec "$network" sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

# The routes go with the device.
down() {
  ip link delete "$network" 2>/dev/null || true
  ip netns delete "$network" 2>/dev/null || true
}

"$1"
