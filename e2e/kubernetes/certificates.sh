#!/usr/bin/env bash
# Makes a cluster's CA, everybody's certificate, and a kubeconfig for each who talks to the API server.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
mkdir -p "$state/pki"
cd "$state/pki"

key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}

# certificate NAME SUBJECT USAGE [ALTERNATIVE_NAMES]
certificate() {
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  {
    echo "basicConstraints=CA:FALSE"
    echo "keyUsage=digitalSignature"
    echo "extendedKeyUsage=$3"
    [ -z "${4:-}" ] || echo "subjectAltName=$4"
  } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

# kubeconfig FILE NAME
kubeconfig() {
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: mooring, cluster: {server: "https://$api_address:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $2, user: {client-certificate-data: $(base64 -w0 "$2.crt"), client-key-data: $(base64 -w0 "$2.key")}}]
contexts: [{name: mooring, context: {cluster: mooring, user: $2}}]
current-context: mooring
YAML
}

key ca
openssl req -x509 -new -key ca.key -subj /CN=mooring-e2e -days 30 -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
certificate apiserver /CN=kube-apiserver serverAuth "$names,IP:127.0.0.1,IP:$api_address,IP:$first_service"
certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
certificate front-proxy /CN=front-proxy-client clientAuth
certificate admin /O=system:masters/CN=mooring-admin clientAuth
certificate controllers /CN=system:kube-controller-manager clientAuth
certificate scheduler /CN=system:kube-scheduler clientAuth
openssl genrsa -out accounts.key 2048 2>/dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
kubeconfig "$state/kubeconfig" admin
kubeconfig "$state/controllers.kubeconfig" controllers
kubeconfig "$state/scheduler.kubeconfig" scheduler
if [ "$kind" = node ]; then
  certificate kubelet "/O=system:nodes/CN=system:node:$node_name" clientAuth
  certificate kubelet-server "/CN=$node_name" serverAuth "DNS:$node_name,IP:$node_address"
  certificate proxy /CN=system:kube-proxy clientAuth
  kubeconfig "$state/kubelet.kubeconfig" kubelet
  kubeconfig "$state/proxy.kubeconfig" proxy
fi
