# Sourced by what needs a Kubernetes: the one that $KUBECONFIG names, else one in docker by kind where both are, else our own from Go modules.
kubernetes=$(cd "$(dirname "${BASH_SOURCE[0]}")/../kubernetes" && pwd)
. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"
. "$(dirname "${BASH_SOURCE[0]}")/docker.sh"

# cluster_up OWNER: sets and exports KUBECONFIG, and $cluster, which the two functions below know it by. OWNER as in kubernetes/up.sh.
cluster_up() {
  if [ -n "${KUBECONFIG:-}" ]; then
    cluster=given
  elif docker_runs && command -v kind >/dev/null; then
    cluster=mooring-$1
    KUBECONFIG=$cache/$cluster.kubeconfig
    export KUBECONFIG
    kind create cluster --name "$cluster" --wait 180s >&2
    reach_services "$cluster-control-plane"
  else
    cluster=$("$kubernetes/up.sh" node "$1")
    KUBECONFIG=$cache/clusters/$cluster/kubeconfig
  fi
  export KUBECONFIG
}

# Devices of the stories are outside of the cluster, and go to Services by their addresses.
reach_services() {
  local node services
  node=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")
  services=$(docker exec "$1" grep -oE -m 1 'service-cluster-ip-range=[^ ]+' /etc/kubernetes/manifests/kube-apiserver.yaml)
  if [ "$(id -u)" = 0 ]; then ip route replace "${services#*=}" via "$node"; else sudo --non-interactive ip route replace "${services#*=}" via "$node"; fi
}

# cluster_load ARCHIVE...: gives images to its nodes. A cluster that was given has them already, or $MOORING_LOAD_IMAGES is a command that takes archives.
cluster_load() {
  local archive
  case $cluster in
    given) if [ -n "${MOORING_LOAD_IMAGES:-}" ]; then $MOORING_LOAD_IMAGES "$@"; fi ;;
    mooring-*) for archive in "$@"; do kind load image-archive --name "$cluster" "$archive"; done ;;
    *) "$kubernetes/load.sh" "$cluster" "$@" ;;
  esac
}

# Ends it, unless it was given.
cluster_down() {
  case ${cluster:-given} in
    given) ;;
    mooring-*) kind delete cluster --name "$cluster"; rm -f "$KUBECONFIG" ;;
    *) "$kubernetes/down.sh" "$cluster" ;;
  esac
}
