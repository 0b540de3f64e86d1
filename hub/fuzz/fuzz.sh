#!/usr/bin/env bash
# fuzz.sh SECONDS [TARGET...]: looks for bytes that break the hub, for SECONDS over all targets (or those named), and fails when it has
# found some, saying how to see it again.
#
# Coverage-guided on stable Rust: libFuzzer, which the crate libfuzzer-sys compiles with a C++ compiler, and LLVM's counters in our own
# crates (rustc.sh). What reached new code is kept in the cache from run to run; everything begins with the seeds and the regressions.
set -euo pipefail
cd "$(dirname "$0")/../.."
. e2e/tools/cache.sh
seconds=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(amqp-engine amqp-frames amqp-messages mqtt-packets texts)

RUSTC_WORKSPACE_WRAPPER=$PWD/hub/fuzz/rustc.sh cargo build --quiet --workspace --features fuzz/libfuzzer --bin fuzz
program=${CARGO_TARGET_DIR:-target}/debug/fuzz
found=$cache/fuzz/found
mkdir -p "$found"

# The engine is the largest of them: it gets as much time as two others.
shares=${#targets[@]}
[[ " ${targets[*]} " != *" amqp-engine "* ]] || shares=$((shares + 1))
failed=0
for target in "${targets[@]}"; do
  corpus=$cache/fuzz/corpus/$target seeds=$cache/fuzz/seeds/$target log=$cache/fuzz/$target.log
  rm -rf "$seeds"
  mkdir -p "$corpus" "$seeds"
  time=$((seconds / shares))
  [ "$target" != amqp-engine ] || time=$((time * 2))
  folders=("$corpus" "$seeds")
  [ ! -d "hub/fuzz/regressions/$target" ] || folders+=("hub/fuzz/regressions/$target")
  # A run that takes ten seconds is a finding as well.
  if MOORING_FUZZ=$target MOORING_FUZZ_SEEDS=$seeds nice "$program" -max_total_time="$((time > 0 ? time : 1))" -max_len=65536 -len_control=20 \
    -timeout=10 -rss_limit_mb=1024 -artifact_prefix="$found/$target-" "${folders[@]}" >"$log" 2>&1; then
    echo "$target: $(grep -aoE '^#[0-9]+\s+DONE.*' "$log" | tr -s '[:space:]' ' ')"
  else
    failed=1
    grep -a -A 20 -m 1 -E 'panicked at|ERROR: libFuzzer|memory allocation of' "$log" >&2 || tail -n 20 "$log" >&2
    file=$(grep -aoE 'Test unit written to .*' "$log" | sed 's/Test unit written to //')
    echo "$target: broken by ${file:-an input that was not written down, see $log}. Again: MOORING_FUZZ=$target $program $file" >&2
    echo "Once it is mended, keep that file in hub/fuzz/regressions/$target: the unit tests run what is there." >&2
  fi
done
exit $failed
