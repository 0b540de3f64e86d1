#!/usr/bin/env bash
# chart.sh: what the chart, the examples and the alerts say, judged by helm, kubectl, promtool and Lua. No cluster.
#
# UPDATE=1 writes the goldens in e2e/chart anew, to be read as a diff.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tools/../.." && pwd)
built=$("$tools/../kubernetes/build.sh")
export PATH=$built/bin:$PATH
chart=$root/charts/mooring
goldens=$root/e2e/chart
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

wrong() {
  echo "$*" >&2
  failures=$((failures + 1))
}

# like_golden NAME: standard input is as it is kept under this name.
like_golden() {
  local kept=$goldens/$1.yaml
  cat >"$work/$1.yaml"
  if [ -n "${UPDATE:-}" ]; then cp "$work/$1.yaml" "$kept"; fi
  diff --unified "$kept" "$work/$1.yaml" >&2 || wrong "$1: not as kept in $kept; if it is right so: UPDATE=1 $0"
}

# The kinds are generated, and have goldens of their own where they are made.
render() {
  helm template mooring "$chart" --namespace mooring-system --set crds.install=false "$@"
}

rendered() {
  helm lint --quiet --strict "$chart" >&2 || wrong "helm lint"
  render | like_golden default
  render --set 'watchNamespaces={plants,mooring-system,labs}' --set rbac.prometheusOperator=false --set rbac.certManager=false --set rbac.finalizers=false | like_golden namespaces
  render --set clusterWide=true | like_golden cluster-wide
  render --set example.enabled=true --api-versions mooring.dev/v1alpha1/IotHub --show-only templates/example.yaml | like_golden example
  render --values "$goldens/everything.values.yaml" | like_golden everything
  # A kind can't come with an object of it: the example waits for the kinds to be there.
  if render --set example.enabled=true | grep -q '^kind: IotHub'; then wrong "the example is rendered before its kinds are there"; fi
  if render --set clusterWide=true | grep -E '^ *(verbs|resources|apiGroups|resourceNames):.*\*'; then wrong "a wildcard among the rights"; fi
}

# The kinds come with the release, stay when it goes, and can be left to somebody else.
kinds() {
  local made kept
  helm template mooring "$chart" >"$work/kinds"
  made=$(grep -cE '^  name: "?(iothubs|devices)\.mooring\.dev"?$' "$work/kinds" || true)
  kept=$(grep -cE '^ *"?helm\.sh/resource-policy"?: "?keep"?$' "$work/kinds" || true)
  [ "$made" = 2 ] || wrong "$made kinds are rendered, not IotHub and Device"
  [ "$kept" = "$made" ] || wrong "of $made kinds, $kept are kept when the release goes"
  if render | grep -q '^kind: CustomResourceDefinition$'; then wrong "crds.install=false installs kinds"; fi
}

# refused WORD ARGUMENT...: the schema refuses the values, and says WORD.
refused() {
  local word=$1 said
  shift
  if said=$(render "$@" 2>&1); then
    wrong "accepted: $*"
  elif ! grep -qF -- "$word" <<<"$said"; then
    wrong "refused $*, but without a word of $word: $said"
  fi
}

mistakes() {
  refused watchNamespace --set 'watchNamespace={plants}'
  refused instal --set crds.instal=false
  refused /replicas --set replicas=two
  refused /replicas --set replicas=-1
  refused /images/hub/digest --set images.hub.digest=latest
  refused repositroy --set images.operator.repositroy=x
  refused /images/pullPolicy --set images.pullPolicy=always
  refused /watchNamespaces/0 --set 'watchNamespaces={Plants}'
  refused /watchNamespaces --set clusterWide=true --set 'watchNamespaces={plants}'
  refused /log/format --set log.format=yaml
  refused /example/serviceType --set example.serviceType=Loadbalancer
  refused /resources/limits/memory --set resources.limits.memory=512MB
  refused aggregated --set rbac.aggregated=true
  refused /rbac/dashboards/0/name --set 'rbac.dashboards[0].namespace=plant' --set 'rbac.dashboards[0].name=Hub'
  refused namespace --set 'rbac.dashboards[0].name=hub'
  refused /networkPolicy/apiServerPorts --set-json 'networkPolicy.apiServerPorts=[]'
}

alerts() {
  promtool check rules "$root/examples/prometheus/rules.yaml" >"$work/said" || { cat "$work/said" >&2; wrong "the rules"; }
  promtool check config --syntax-only "$root/examples/prometheus/scrape.yaml" >"$work/said" 2>&1 || { cat "$work/said" >&2; wrong "the scrape configuration"; }
  promtool test rules "$root"/e2e/alerts/*.yaml >"$work/said" 2>&1 || { cat "$work/said" >&2; wrong "the alerts"; }
}

gitops() {
  kubectl kustomize "$root/examples/gitops" | like_golden gitops
  local kind
  for kind in IotHub Device; do
    sed -n "/^  resource.customizations.health.mooring.dev_$kind: |\$/,/^  [^ ]/s/^    //p" "$root/examples/gitops/argocd/health-checks.yaml" >"$work/$kind.lua"
    lua5.1 "$root/e2e/chart/health.lua" "$kind" "$work/$kind.lua" >&2 || wrong "the health check of $kind"
  done
}

rendered
kinds
mistakes
alerts
gitops
if [ "$failures" -gt 0 ]; then
  echo "$failures wrong" >&2
  exit 1
fi
echo "the chart, its values, the examples and the alerts are as they should be"
