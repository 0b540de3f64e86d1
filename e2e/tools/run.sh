#!/usr/bin/env bash
# The hub in dev mode, three devices that send, and the live tail of what they send. Ctrl-C ends all of it.
set -uo pipefail

hub=
devices=
# The signal is sent to everything in the terminal's group; whoever has not heard it is told here, and waited for.
end() {
  trap '' INT TERM
  [ -n "$devices" ] && kill "$devices" 2>/dev/null
  [ -n "$hub" ] && kill -TERM "$hub" 2>/dev/null
  wait
}
trap 'end; exit 0' INT TERM

data=${MOORING_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/mooring}
rm -f "$data/hub.json"
"$MOORING_HUB_BIN" dev --data "$data" --device thermostat-1 --device thermostat-2 --device pump-1 &
hub=$!
until [ -s "$data/hub.json" ]; do
  kill -0 "$hub" 2>/dev/null || { wait "$hub"; exit; }
  sleep 0.1
done
"$EXAMPLE_DEVICES" "$data/hub.json" &
devices=$!
"$MOORING_HUB_BIN" events --data "$data" &
wait $!
status=$?
end
exit $status
