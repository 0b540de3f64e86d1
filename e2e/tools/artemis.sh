#!/usr/bin/env bash
# Installs Apache ActiveMQ Artemis from Maven's central repository into the cache, pinned, and prints its folder. Needs Java 17 and Maven; prints
# nothing where they are not: the benchmark then goes without it.
set -euo pipefail
. "$(dirname "$0")/cache.sh"

version=2.40.0
sha256=3add67e7b0af89f81eac1e6c577427b049b4e7502fb278c591838465d5ca93b5

fetch() {
  mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    "-Dartifact=org.apache.activemq:apache-artemis:$version:tar.gz:bin" "-DoutputDirectory=$1" >&2
  echo "$sha256  $1/apache-artemis-$version-bin.tar.gz" | sha256sum --check --quiet >&2
  tar --extract --gzip --file "$1/apache-artemis-$version-bin.tar.gz" --directory "$1" --strip-components 1
  rm "$1/apache-artemis-$version-bin.tar.gz"
}

command -v java >/dev/null && command -v mvn >/dev/null || { echo "without artemis: java or mvn is not installed" >&2; exit 0; }
once artemis "$version" fetch
echo "$folder"
