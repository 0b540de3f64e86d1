# Sourced by the scripts that build images. They need no registry: every image is FROM scratch, over a folder that was prepared.
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/tools/cache.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/tools/docker.sh"

# build_image ARCHIVE NAME FOLDER [BUILD_ARGUMENT=VALUE...]: FOLDER holds a Containerfile and what it copies; ARCHIVE can be loaded by docker,
# kind, containerd and podman.
build_image() {
  local archive=$1 name=$2 folder=$3 arguments=() argument
  shift 3
  for argument in "$@"; do arguments+=(--build-arg "$argument"); done
  rm -f "$archive"
  if docker_runs; then
    docker build --quiet "${arguments[@]}" --tag "$name" --file "$folder/Containerfile" "$folder" >/dev/null
    docker save --output "$archive" "$name"
  elif command -v buildah >/dev/null; then
    # A store of its own, by plain copies: it needs no privilege and leaves nothing in the machine's.
    local store=$(mktemp -d "$cache/images.XXXXXX")
    local buildah=(buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs)
    local status=0
    "${buildah[@]}" build --quiet --isolation chroot "${arguments[@]}" --tag "$name" --file "$folder/Containerfile" "$folder" >/dev/null &&
      "${buildah[@]}" push --quiet "$name" "docker-archive:$archive:$name" >/dev/null || status=$?
    rm -rf "$store"
    return $status
  else
    echo "No image without docker or buildah: apt-get install --no-install-recommends buildah" >&2
    return 1
  fi
}
