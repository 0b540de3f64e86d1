#!/bin/sh
# rustc as RUSTC_WORKSPACE_WRAPPER: our own crates tell libFuzzer where they have been, and which values they have compared. Dependencies
# stay as they are built for everything else.
rustc=$1
shift
# A build script runs without libFuzzer, which has what the others call.
case " $* " in *" --crate-name build_script_"*) exec "$rustc" "$@" ;; esac
exec "$rustc" "$@" -Copt-level=1 -Ccodegen-units=4 -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
