#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: RabbitMQ, PostgreSQL, PgBouncer, MariaDB, Prometheus and
# systemd (which judges its unit) as Debian packages, a C compiler and make for what Cargo builds. Does nothing where all are there.
set -euo pipefail

# There if one of these files is. (`cc`: Cargo links with it.)
there() {
    local file
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

missing=()
# What tests/tools.sh, tests/static.sh and benches/ ask for where it is missing.
case ${1:-} in
    --go) command -v go >/dev/null || missing+=(golang-go ca-certificates) ;;
    --python) missing+=(python3-venv) ;;
    --valgrind) command -v valgrind >/dev/null || missing+=(valgrind) ;;
    --java) command -v mvn >/dev/null || missing+=(maven default-jdk-headless) ;;
    --musl) command -v musl-gcc >/dev/null || missing+=(musl-tools) ;;
esac
there /usr/lib/rabbitmq/bin/rabbitmq-server || missing+=(rabbitmq-server)
there /usr/lib/postgresql/*/bin/postgres || missing+=(postgresql)
there /usr/sbin/pgbouncer || missing+=(pgbouncer)
there /usr/sbin/mariadbd || missing+=(mariadb-server)
there /usr/bin/promtool || missing+=(prometheus)
there /usr/bin/systemd-analyze || missing+=(systemd)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)

if [ ${#missing[@]} -eq 0 ]; then
    echo "RabbitMQ, PostgreSQL, PgBouncer, MariaDB, Prometheus, systemd, a C compiler and make are installed"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (names of Debian packages). This machine has no apt-get: install them by hand," >&2
    echo "so that they lie where Debian puts them." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "missing: ${missing[*]}; neither root nor sudo here to install them" >&2; exit 1; }
    as_root=(sudo)
fi

# Their services are not wanted: tests start nodes of their own. Where a service manager runs, it
# would start them at once and could take ports that somebody else needs.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
else
    policy=
fi
said=$(mktemp)
trap 'rm -f "$said"; [ -z "$policy" ] || "${as_root[@]}" rm -f "$policy"' EXIT
echo "installing ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >>"$said" 2>&1; }
if ! apt update || ! apt -y --no-install-recommends install "${missing[@]}"; then
    cat "$said" >&2
    exit 1
fi
