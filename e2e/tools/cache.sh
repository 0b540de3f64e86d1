# Sourced by the other tools: where things are kept between runs, outside the checkout.
cache=${MOORING_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mooring}
mkdir -p "$cache"

# once NAME KEY COMMAND...: runs COMMAND with an empty folder as its last argument and keeps the result as $cache/NAME-KEY, once.
# A second run at the same time waits for the first; one that was interrupted leaves nothing behind. Sets $folder.
once() {
  local name=$1 key=$2
  shift 2
  folder=$cache/$name-$key
  exec 9>"$cache/$name.lock"
  flock 9
  if [ ! -e "$folder/.complete" ]; then
    rm -rf "$folder"
    mkdir "$folder"
    "$@" "$folder"
    touch "$folder/.complete"
  fi
  exec 9>&-
}

# hash FILE...: a short name for what the files say.
hash() {
  cat "$@" | sha256sum | cut -c1-16
}
