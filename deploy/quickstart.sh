#!/usr/bin/env bash
# From nothing to rows, on this machine: a RabbitMQ node of its own, sample orders with repeats and
# bad ones among them, the worker, an SQLite file. Exits 0 only if the counts add up. Nothing of it
# stays but the build. (Also for bash 3.2, which is what macOS has.)
set -euo pipefail

good=5000
repeats=250
queue=rabbit-sink-quickstart.orders
url='' profile=quick

usage() {
    cat <<'END'
usage: ./deploy/quickstart.sh [--url amqp://USER:PASSWORD@HOST:PORT/VHOST] [--profile NAME]

Starts a RabbitMQ node of its own on a free port (it installs one, if need be), publishes sample
orders, runs rabbit-sink into an SQLite file, and shows what came of every message.

  --url      use this broker instead. It gets two queues, rabbit-sink-quickstart.orders and
             rabbit-sink-quickstart.orders.dead, which are deleted at the end.
  --profile  Cargo profile to build with (default: quick)
END
}

while [ $# -gt 0 ]; do
    case $1 in
        --url) url=${2:?--url needs a URL}; shift ;;
        --profile) profile=${2:?--profile needs a name}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

cd "$(dirname "$0")/.."
project=$PWD
say() { printf '\n== %s\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Not below TMPDIR: RabbitMQ's own scripts take no path with a space in it.
work=$(mktemp -d /tmp/rabbit-sink-quickstart.XXXXXX)
broker_pid='' epmd_pid='' container='' policy='' ours=false tool='' owns_queues=false

cleanup() {
    status=$?
    trap - EXIT INT TERM HUP
    if $owns_queues && ! $ours; then
        "$tool" delete "$url" "$queue" "$queue.dead" || echo "could not delete the queues $queue and $queue.dead" >&2
    fi
    if [ -n "$broker_pid" ]; then
        kill "$broker_pid" 2>/dev/null || :
        wait "$broker_pid" 2>/dev/null || :
    fi
    if [ -n "$epmd_pid" ]; then
        kill "$epmd_pid" 2>/dev/null || :
        wait "$epmd_pid" 2>/dev/null || :
    fi
    [ -z "$container" ] || docker rm -f "$container" >/dev/null 2>&1 || :
    [ -z "$policy" ] || as_root rm -f "$policy" || :
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        have sudo || fail "neither root nor sudo here to run: $*"
        sudo "$@"
    fi
}

updated=false
install_packages() {
    have apt-get || fail "missing: $* (names of Debian packages), and this machine has no apt-get"
    echo "installing $*"
    # Debian would start the service, on the port that we must not use.
    if [ -z "$policy" ] && ! [ -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >"$work/policy-rc.d"
        policy=/usr/sbin/policy-rc.d
        as_root install -m 755 "$work/policy-rc.d" "$policy"
    fi
    $updated || as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    updated=true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" </dev/null >"$work/apt.log" 2>&1 ||
        { cat "$work/apt.log" >&2; fail "apt-get could not install $*"; }
}

# A port that nothing listens on.
free_port() {
    local port
    while :; do
        port=$((12000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

# Where a broker's own script lies. (The one in Debian's PATH switches user and loses our settings.)
installed_broker() {
    local file brew=''
    if have brew; then brew=$(brew --prefix)/opt/rabbitmq/sbin/rabbitmq-server; fi
    for file in /usr/lib/rabbitmq/bin/rabbitmq-server "$brew"; do
        if [ -n "$file" ] && [ -x "$file" ]; then
            echo "$file"
            return
        fi
    done
}

start_node() {
    local server=$1 port
    port=$(free_port)
    export ERL_EPMD_PORT RABBITMQ_DIST_PORT
    ERL_EPMD_PORT=$(free_port)
    RABBITMQ_DIST_PORT=$(free_port)
    echo 'log.console.level = info' >"$work/rabbitmq.conf"
    echo '[].' >"$work/enabled_plugins"
    : >"$work/rabbitmq-env.conf"
    # Erlang would start it by itself, and it would never end.
    if have epmd; then
        epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" >"$work/epmd.log" 2>&1 </dev/null &
        epmd_pid=$!
    fi
    HOME=$work RABBITMQ_NODENAME="quickstart$$@localhost" RABBITMQ_NODE_PORT=$port RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_MNESIA_BASE="$work/mnesia" RABBITMQ_LOG_BASE="$work/log" RABBITMQ_LOGS=- \
        RABBITMQ_CONFIG_FILE="$work/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$work/rabbitmq-env.conf" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$work/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$work/enabled_plugins" \
        RUNNING_UNDER_SYSTEMD=true "$server" >"$work/broker.log" 2>&1 </dev/null &
    broker_pid=$!
    url="amqp://guest:guest@127.0.0.1:$port/%2f"
}

start_container() {
    echo "RabbitMQ from Docker (rabbitmq:4)"
    container=$(docker run -d -p 127.0.0.1::5672 rabbitmq:4) || fail "docker could not start rabbitmq:4"
    local address
    address=$(docker port "$container" 5672/tcp | head -n 1)
    url="amqp://guest:guest@127.0.0.1:${address##*:}/%2f"
}

start_broker() {
    local server docker=false
    server=$(installed_broker)
    if have docker && docker info >/dev/null 2>&1; then docker=true; fi
    if [ "$(uname)" = Darwin ] && $docker; then
        start_container
    elif [ -n "$server" ]; then
        start_node "$server"
    elif $docker; then
        start_container
    elif [ "$(uname)" = Darwin ]; then
        have brew || fail "no broker, no Docker daemon and no Homebrew here: install one of them, or name a broker by --url"
        echo "installing rabbitmq by Homebrew"
        brew install --quiet rabbitmq
        start_node "$(installed_broker)"
    else
        install_packages rabbitmq-server
        start_node "$(installed_broker)"
    fi
    ours=true
}

have cargo || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
have cargo || fail "no cargo here: install Rust first, see https://rustup.rs"
have cc || install_packages gcc libc6-dev
have make || install_packages make

say "build (the first time takes some minutes: about 3 on two cores)"
began=$SECONDS
cargo build --quiet --profile "$profile" --bin rabbit-sink --example quickstart
echo "built in $((SECONDS - began)) s"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
[ "$profile" != dev ] || profile=debug
sink=$target/$profile/rabbit-sink
tool=$target/$profile/examples/quickstart

say "broker"
[ -n "$url" ] || start_broker
"$tool" wait "$url" || { [ -z "$broker_pid" ] || tail -n 20 "$work/broker.log" >&2; fail "the broker doesn't answer"; }
if $ours; then echo "a node of our own answers on port $(echo "$url" | sed 's/.*:\([0-9]*\)\/.*/\1/')"; fi

say "an SQLite file with a table, $((good + repeats)) orders in the queue $queue, and some bad ones"
cd "$work"
"$tool" create 'sqlite://orders.db?mode=rwc' "$project/deploy/quickstart.sql"
published_json=$("$tool" publish "$url" "$queue" "$good" "$repeats")
owns_queues=true
echo "$published_json"

say "rabbit-sink run --until-empty"
export RABBIT_SINK_CONFIG=$project/config/quickstart.toml
export RABBIT_SINK__RABBITMQ__URL=$url
summary_json=$("$sink" run --until-empty --json)
echo "$summary_json"

say "the rows"
shown=$("$tool" show 'sqlite://orders.db')
echo "$shown" | sed '$d'
rows=$(echo "$shown" | tail -n 1)

say "the dead letters: rabbit-sink dlq list orders"
"$sink" dlq list orders
letters=$("$sink" dlq list orders --json | grep -c '^{' || :)

# number JSON KEY
number() { echo "$1" | sed -n "s/.*\"$2\": *\([0-9]*\).*/\1/p"; }
published=$(number "$published_json" published)
bad=$(number "$published_json" bad)
written=$(number "$summary_json" written)
duplicates=$(number "$summary_json" duplicates)
dead=$(number "$summary_json" dead_lettered)

say "the books"
wrong=0
line() {
    local verdict=ok
    if [ "$2" != "$3" ]; then verdict="WRONG, expected $3" wrong=$((wrong + 1)); fi
    printf '%-34s %6s  %s\n' "$1" "$2" "$verdict"
}
line "published" "$published" $((good + repeats + bad))
line "written" "$written" "$good"
line "rows in the table" "$rows" "$good"
line "duplicates, not written again" "$duplicates" "$repeats"
line "dead-lettered" "$dead" "$bad"
line "in the dead-letter queue" "$letters" "$bad"
line "written + duplicates + dead" $((written + duplicates + dead)) "$published"
[ "$wrong" -eq 0 ] || fail "the counts don't add up"
echo "every message is accounted for"
