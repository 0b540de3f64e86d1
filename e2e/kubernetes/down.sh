#!/usr/bin/env bash
# down.sh NAME: ends the cluster that up.sh called NAME, and clears away whatever is left of it, also of one that was interrupted.
# KEEP_LOGS=FOLDER: keeps its logs there, in a folder of its name.
set -uo pipefail
export MOORING_CLUSTER=${1:?down.sh NAME}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
[ -e "$state" ] || exit 0

gone() {
  ! kill -0 "$1" 2>/dev/null
}

# no_groups: control groups can go only when their processes have gone.
no_groups() {
  local group left=0
  for group in "/sys/fs/cgroup/$network" /sys/fs/cgroup/*/"$network"; do
    [ -d "$group" ] || continue
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    [ ! -d "$group" ] || left=1
  done
  return $left
}

# A number may be somebody else's by now: it is ended only when it is about this cluster.
end() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qE "$2"; then
    kill -KILL "$pid"
    until_true 20 "the end of process $pid" gone "$pid"
  fi
}

if [ "$kind" = node ]; then
  end "$state/cluster.pid" "/node.sh .* $MOORING_CLUSTER "
  "$here/network.sh" down
  until_true 20 "the end of the cluster's processes" no_groups
else
  for name in kube-controller-manager kube-apiserver etcd; do end "$state/$name.pid" "$state/"; done
fi
if [ -n "${KEEP_LOGS:-}" ]; then
  mkdir -p "$KEEP_LOGS"
  mv "$logs" "$KEEP_LOGS/$MOORING_CLUSTER"
fi
rm -rf "$state"
