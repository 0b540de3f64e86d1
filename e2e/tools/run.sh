#!/usr/bin/env bash
# The hub in dev mode, three devices that send, and the live tail of what they send. Ctrl-C ends all of it.
set -uo pipefail

started=()
# What a shell starts in the background does not hear Ctrl-C: it is told here, and waited for.
end() {
  trap '' INT TERM
  kill "${started[@]}" 2>/dev/null
  wait
}
trap 'end; exit 0' INT TERM

data=${MOORING_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/mooring}
rm -f "$data/hub.json"
"$MOORING_HUB_BIN" dev --data "$data" --device thermostat-1 --device thermostat-2 --device pump-1 &
hub=$!
started+=($hub)
until [ -s "$data/hub.json" ]; do
  kill -0 "$hub" 2>/dev/null || { wait "$hub"; exit; }
  sleep 0.1
done
"$EXAMPLE_DEVICES" "$data/hub.json" &
started+=($!)
"$MOORING_HUB_BIN" events --data "$data" &
started+=($!)
# None of them ends by itself.
wait -n
status=$?
end
exit $status
