#!/usr/bin/env bash
# node.sh FOLDER NAME: process 1 of a cluster's PID namespace, in network and mount namespaces of the cluster's own. FOLDER is what build.sh printed.
# Starts the control plane and one node, says "up" when all of it runs, and stays.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
built=$1
export MOORING_CLUSTER=$2
. "$here/settings.sh"
export PATH=$built/bin:$PATH
socket=/run/containerd/containerd.sock

# The paths that kubelet and containerd insist on are this cluster's own; mounts spread among its processes and never to the machine.
private_paths() {
  local path
  mount --make-rshared /
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns /run/lock
  for path in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers; do
    mkdir -p "$path" "$state/node$path"
    mount --bind "$state/node$path" "$path"
  done
}

# The kubelet sets knobs of the whole machine's kernel, and gives up where it can't: it turns dummies.
dummy_knobs() {
  local knob dummy
  for knob in vm/overcommit_memory:1 vm/panic_on_oom:0 kernel/panic:10 kernel/panic_on_oops:1 kernel/keys/root_maxkeys:1000000 kernel/keys/root_maxbytes:25000000; do
    dummy=$state/node/sysctl/${knob%%:*}
    mkdir -p "$(dirname "$dummy")"
    echo "${knob##*:}" >"$dummy"
    if [ -e "/proc/sys/${knob%%:*}" ]; then mount --bind "$dummy" "/proc/sys/${knob%%:*}"; fi
  done
}

# One group for all of the cluster's Pods, in every hierarchy.
control_groups() {
  local hierarchy
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mkdir -p "/sys/fs/cgroup/$network"
    return
  fi
  for hierarchy in /sys/fs/cgroup/*/; do
    [ -e "$hierarchy/cgroup.procs" ] && [[ $hierarchy != *unified* ]] || continue
    mkdir -p "$hierarchy/$network"
    if [ -e "$hierarchy/cpuset.cpus" ]; then
      cat "$hierarchy/cpuset.cpus" >"$hierarchy/$network/cpuset.cpus"
      cat "$hierarchy/cpuset.mems" >"$hierarchy/$network/cpuset.mems"
    fi
  done
}

containerd_up() {
  # Overlays can't lie on an overlay, as the disk of a container is: there everything is copied.
  local snapshotter=overlayfs
  [ "$(stat -fc %T "$state")" != overlayfs ] || snapshotter=native
  mkdir -p "$state/containerd" "$state/cni"
  cat >"$state/cni/10-mooring.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "mooring", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >"$state/containerd/config.toml" <<TOML
version = 3
root = "$state/containerd/root"
state = "/run/containerd"
[grpc]
  address = "$socket"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "$snapshotter"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "$pause_image"
[plugins."io.containerd.cri.v1.runtime"]
  # Root of a container has no CAP_SYS_RESOURCE, and can't make anything less likely to be killed.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$built/bin/cni"]
  conf_dir = "$state/cni"
TOML
  containerd --config "$state/containerd/config.toml" >"$logs/containerd.log" 2>&1 </dev/null &
  until_true 60 "containerd" ctr --address "$socket" version >/dev/null 2>&1
  local archive
  for archive in "$built"/images/*.tar; do
    ctr --address "$socket" --namespace k8s.io images import "$archive" >>"$logs/images.log" 2>&1
  done
}

kubelet_up() {
  : >"$state/resolv.conf"
  cat >"$state/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$network
failSwapOn: false
address: $node_address
tlsCertFile: $state/pki/kubelet-server.crt
tlsPrivateKeyFile: $state/pki/kubelet-server.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$socket
clusterDNS: [$dns_address]
clusterDomain: cluster.local
resolvConf: $state/resolv.conf
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
nodeStatusUpdateFrequency: 4s
syncFrequency: 5s
shutdownGracePeriod: 0s
YAML
  kubelet --config "$state/kubelet.yaml" --kubeconfig "$state/kubelet.kubeconfig" --hostname-override "$node_name" --node-ip "$node_address" \
    >"$logs/kubelet.log" 2>&1 </dev/null &
}

kube_proxy_up() {
  cat >"$state/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
bindAddress: 0.0.0.0
clusterCIDR: $pods
hostnameOverride: $node_name
clientConnection: {kubeconfig: $state/proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {syncPeriod: 30s, minSyncPeriod: 100ms}
YAML
  kube-proxy --config "$state/kube-proxy.yaml" >"$logs/kube-proxy.log" 2>&1 </dev/null &
}

private_paths
dummy_knobs
control_groups
"$here/control-plane.sh" "$built/bin" &
control_plane=$!
containerd_up
wait $control_plane
kubelet_up
kube_proxy_up
echo up
# Process 1 buries the dead; the cluster ends when this is killed.
while :; do
  wait -n || true
  sleep 1
done
