#!/usr/bin/env bash
# Builds Kubernetes (etcd, API server, controllers, scheduler, kubelet, kube-proxy, kubectl), containerd, CNI plugins, CoreDNS and Helm from Go
# modules, pinned by go.sum, into the cache, and prints their folder. The first time takes ten minutes on two cores; then it is a look.
# Debian brings what needs a C compiler: runc.
set -euo pipefail
cd "$(dirname "$0")"
. ../tools/cache.sh
. ../../deploy/container.sh
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath -mod=readonly"

# module MODULE PACKAGE BINARY [LINKER_FLAGS]
module() {
  (cd "modules/$1" && go build -ldflags "-s -w ${4:-}" -o "$bin/$3" "$2")
}

# One binary for every part of Kubernetes: it is linked once.
hyperkube() {
  local version package=k8s.io/component-base/version role
  version=$(cd modules/hyperkube && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  # Else the server calls itself v0.0.0-master+$Format:%H$, on which clients that read versions break.
  module hyperkube . hyperkube "-X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version") -X $package.gitTreeState=clean"
  for role in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -s hyperkube "$bin/$role"
  done
}

# image NAME BINARY: the image localhost/NAME:e2e, of one static binary.
image() {
  local work
  work=$(mktemp -d)
  cp "$bin/$2" "$work/$1"
  printf 'FROM scratch\nCOPY %s /%s\nENTRYPOINT ["/%s"]\n' "$1" "$1" "$1" >"$work/Containerfile"
  build_image "$images/$1.tar" "localhost/$1:e2e" "$work"
  rm -rf "$work"
}

build() {
  local bin=$1/bin images=$1/images
  mkdir -p "$bin/cni" "$images"
  {
    hyperkube
    module helm helm.sh/helm/v4/cmd/helm helm
    local containerd=github.com/containerd/containerd/v2/cmd cni=github.com/containernetworking/plugins/plugins
    module node $containerd/containerd containerd
    module node $containerd/containerd-shim-runc-v2 containerd-shim-runc-v2
    module node $containerd/ctr ctr
    module node $cni/main/bridge cni/bridge
    module node $cni/main/loopback cni/loopback
    module node $cni/ipam/host-local cni/host-local
    module node $cni/meta/portmap cni/portmap
    module coredns . coredns
    module pause . pause
    image coredns coredns
    image pause pause
  } >&2
}

once kubernetes "$(hash build.sh modules/*/*)" build
echo "$folder"
