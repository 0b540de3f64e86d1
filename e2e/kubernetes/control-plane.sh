#!/usr/bin/env bash
# control-plane.sh BIN: starts etcd, the API server, its controllers and, for a cluster with a node, the scheduler; answers when all of them work.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
bin=$1
pki=$state/pki
mkdir -p "$logs"
# Where etcd listens: a cluster with a node has a loopback device of its own.
etcd=$api_address
[ "$kind" = api ] || etcd=127.0.0.1

# start NAME COMMAND...: in the background; nobody's end is another's.
start() {
  local name=$1
  shift
  "$@" >"$logs/$name.log" 2>&1 </dev/null 8>&- &
  echo $! >"$state/$name.pid"
}

# answers PATH: whether the API server has an answer to it. An end of the server is an end of the waiting.
answers() {
  curl --silent --fail --max-time 5 --output /dev/null --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "https://$api_address:6443$1" && return
  for name in etcd kube-apiserver; do
    kill -0 "$(cat "$state/$name.pid")" 2>/dev/null || { echo "$name ended:" >&2; tail -n 5 "$logs/$name.log" >&2; exit 1; }
  done
  return 1
}

start etcd "$bin/etcd" --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls "http://$etcd:2379" --advertise-client-urls "http://$etcd:2379" \
  --listen-peer-urls "http://$etcd:2380" --initial-advertise-peer-urls "http://$etcd:2380" --initial-cluster "default=http://$etcd:2380"
start kube-apiserver "$bin/kube-apiserver" --etcd-servers="http://$etcd:2379" \
  --bind-address="$api_address" --advertise-address="$api_address" --secure-port=6443 \
  --endpoint-reconciler-type="$([ "$kind" = node ] && echo lease || echo none)" \
  --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
  --kubelet-certificate-authority="$pki/ca.crt" --kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key" \
  --kubelet-preferred-address-types=InternalIP \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$pki/accounts.pub" --service-account-signing-key-file="$pki/accounts.key" \
  --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
  --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --service-cluster-ip-range="$services" \
  --allow-privileged=true --event-ttl=1h
until_true 120 "the API server" answers /readyz
# Not earlier: the controllers end for good when the first roles aren't there yet.
start kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$state/controllers.kubeconfig" \
  --authentication-kubeconfig="$state/controllers.kubeconfig" --authorization-kubeconfig="$state/controllers.kubeconfig" --bind-address="$etcd" \
  --use-service-account-credentials --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/ca.crt" \
  --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --leader-elect=false \
  --allocate-node-cidrs=false --service-cluster-ip-range="$services" --kube-api-qps=300 --kube-api-burst=600
if [ "$kind" = node ]; then
  start kube-scheduler "$bin/kube-scheduler" --kubeconfig="$state/scheduler.kubeconfig" --authentication-kubeconfig="$state/scheduler.kubeconfig" \
    --authorization-kubeconfig="$state/scheduler.kubeconfig" --bind-address="$etcd" --leader-elect=false
fi
# Pods are refused before the controllers have made this.
until_true 60 "the controllers" answers /api/v1/namespaces/default/serviceaccounts/default
