#!/usr/bin/env bash
# The hub in dev mode, 50 simulated devices, and commands that go out to them, live. Ctrl-C ends all of it.
set -uo pipefail

# What a shell starts in the background does not hear Ctrl-C: it is told here, and waited for.
end() {
  trap '' INT TERM
  kill "$hub" 2>/dev/null
  wait
}
trap 'end; exit 0' INT TERM

data=${MOORING_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/mooring}
mkdir -p "$data"
log=$data/run.log
rm -f "$data/hub.json"
"$MOORING_HUB_BIN" dev --data "$data" 2>"$log" &
hub=$!
until [ -s "$data/hub.json" ]; do
  kill -0 "$hub" 2>/dev/null || { wait "$hub"; status=$?; tail -n 20 "$log" >&2; exit $status; }
  sleep 0.1
done

fleet=(--devices 50 --interval 5s --sleep '20%:20s/40s' --flap '4%:20s' --ignore '2%' --commands 1/s)
# Over MQTT 3.1.1 a device can't refuse a command, and not everybody may bind port 443.
grep -q '"https": "' "$data/hub.json" && fleet+=(--refuse '2%')
cat <<TEXT

50 simulated devices connect: some sleep, two lose their connection now and then, one ignores its commands, one refuses them. Every second a
command goes to one of them; when it has ended, its way is a line below. The hub's log is $log.

TEXT
"$MOORING_HUB_BIN" simulate --data "$data" "${fleet[@]}"
status=$?
end
exit $status
