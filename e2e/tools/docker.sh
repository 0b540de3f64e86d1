# Sourced by the other tools.

# Whether docker is here and its server answers.
docker_runs() {
  command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1
}
