#!/usr/bin/env bash
# Runs a command with a throw-away PostgreSQL 15 on loopback: MOORING_TEST_POSTGRES_URL says where. The server and its data are gone
# afterwards. The exit status is the command's.
#   e2e/postgres.sh cargo test -p mooring-hub --test stores_postgres
set -euo pipefail

version=15
bin=/usr/lib/postgresql/$version/bin

if [ $# -eq 0 ]; then
    echo "usage: $0 COMMAND [ARGUMENT...]" >&2
    exit 2
fi

if [ ! -x "$bin/postgres" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "PostgreSQL $version is missing; as root: apt-get install postgresql-$version" >&2
        exit 1
    fi
    # The package makes and starts a cluster of its own unless told otherwise.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-confold "postgresql-$version"; } >&2
fi

folder=$(mktemp -d /tmp/mooring-postgres.XXXXXX)
# PostgreSQL refuses to run as root; its package has made a user for it.
as_postgres=()
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$folder"
    as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
fi

tear_down() {
    (cd "$folder" && "${as_postgres[@]}" "$bin/pg_ctl" stop --pgdata=data --mode=immediate >/dev/null 2>&1) || true
    rm -rf "$folder"
}
trap tear_down EXIT
trap 'exit 130' INT TERM

url=$(
    cd "$folder"
    # --locale: not C on purpose, where the machine has another one, because the order of ids must not depend on it.
    locale=$(locale -a | grep -m1 -i 'utf-\?8' || echo C)
    "${as_postgres[@]}" "$bin/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale="$locale" --no-sync >initdb.log
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 10000))
        # fsync=off: what is tested is what the server answers, not its disk. deadlock_timeout: the contract provokes deadlocks.
        if "${as_postgres[@]}" "$bin/pg_ctl" start --wait --pgdata=data --log=data/server.log \
            --options="-h 127.0.0.1 -p $port -k $folder -c fsync=off -c deadlock_timeout=20ms" >/dev/null 2>&1; then
            echo "postgres://postgres@127.0.0.1:$port/postgres"
            exit 0
        fi
    done
    cat data/server.log >&2
    exit 1
)
export MOORING_TEST_POSTGRES_URL=$url
"$@"
