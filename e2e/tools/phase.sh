#!/usr/bin/env bash
# phase.sh NAME COMMAND...: runs COMMAND, and says what it is, how long it took, and, when it fails, that it was this.
name=$1
shift
echo "==> $name"
begin=$SECONDS
"$@"
status=$?
if [ $status = 0 ]; then
  echo "==> $name: good after $((SECONDS - begin)) s"
else
  echo "==> $name: FAILED after $((SECONDS - begin)) s (status $status)" >&2
fi
exit $status
