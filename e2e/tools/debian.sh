#!/usr/bin/env bash
# Installs the Debian packages that the tests use, those that are missing. Starts no service and leaves none running.
set -euo pipefail
. "$(dirname "$0")/cache.sh"
. "$(dirname "$0")/docker.sh"

# libssl-dev and pkg-config are for Qpid Proton, which comes as sources.
packages=(
  chromium curl g++ iproute2 libssl-dev lua5.1 mold mosquitto mosquitto-clients openssl pkg-config postgresql prometheus util-linux
)
# Python's own from Debian has no `venv` without this.
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
# What builds images and runs Pods where docker doesn't. Debian's runc and docker's own can't be installed side by side.
docker_runs || packages+=(buildah conntrack ethtool iptables nftables runc)

missing() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

# A policy-rc.d that answers 101 keeps dpkg from starting services; one that is there already is somebody's own, and stays.
install() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
    trap '$sudo rm -f "$policy"' EXIT
  fi
  # A cluster made by installing would be one more thing to leave behind: the tests make their own.
  $sudo mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
  local apt=($sudo env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=600)
  "${apt[@]}" update
  "${apt[@]}" install --no-install-recommends "$@" >/dev/null
}

exec 9>"$cache/debian.lock"
flock 9
wanted=$(missing)
if [ -n "$wanted" ]; then
  sudo=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "missing Debian packages, and neither root nor sudo to install them:" $wanted >&2; exit 1; }
    sudo=sudo
  fi
  echo "installing" $wanted
  install $wanted
fi
