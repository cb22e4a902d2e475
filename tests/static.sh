#!/usr/bin/env bash
# Builds the binary that the image and a release hold, static, from what the Dockerfile is given and no more; then has it
# work in a folder where there is nothing else, as a user without rights: no libraries, no shell, no /etc, no /proc. It
# moves the quickstart's orders from a real broker into SQLite there. Minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != inside ]; then
    ./tests/install.sh --musl
    target=$(uname -m)-unknown-linux-musl
    rustup target list --installed | grep -qx "$target" || rustup target add "$target"
    # As in the Dockerfile.
    [ "$target" != aarch64-unknown-linux-musl ] || export JEMALLOC_SYS_WITH_LG_PAGE=16
    folder=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

    echo "== the build needs no file that the image's build is not given"
    given=$(mktemp -d)
    trap 'rm -rf "$given"' EXIT
    while read -r name; do cp -r "$name" "$given/"; done < <(sed -n 's/^!//p' deploy/Dockerfile.dockerignore)
    (cd "$given" && cargo metadata --format-version 1 --no-deps --locked >/dev/null)
    [ -z "$(cd "$given" && find . -name '*.md' -o -name '*.toml' | grep -vE '^./(Cargo|.cargo/config).toml$')" ]

    echo "== build"
    cargo build --release --locked --target "$target" --bin rabbit-sink
    cargo build --quiet --example quickstart --example with-servers
    "$folder/debug/examples/with-servers" "$0" inside "$folder/$target/release/rabbit-sink" "$folder/debug/examples/quickstart"
    exit
fi

binary=$2 tool=$3 url=$RABBIT_SINK_TEST_AMQP_URL
root=$(mktemp -d)
worker=
finish() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$worker" ] || kill "$worker" 2>/dev/null || :
    "$tool" delete "$url" rabbit-sink-quickstart.orders rabbit-sink-quickstart.orders.dead >/dev/null || :
    rm -rf "$root"
    exit "$status"
}
trap finish EXIT INT TERM
say() { printf '\n== %s\n' "$*"; }
fail() { echo "static: $*" >&2; exit 1; }

say "static"
! readelf --program-headers "$binary" | grep -q INTERP || fail "it asks for a loader: not static"
ls -l "$binary" | awk '{ print $5 / 1048576 " MiB" }'
[ "$(stat -c %s "$binary")" -le $((25 << 20)) ] || fail "more than 25 MiB"

mkdir -p "$root/data" "$root/etc/rabbit-sink"
cp "$binary" "$root/rabbit-sink"
sed 's#^listen = "off"#listen = "127.0.0.1:'"$((20000 + RANDOM % 10000))"'"#; s#sqlite://orders.db#sqlite:///data/orders.db#' \
    config/quickstart.toml >"$root/etc/rabbit-sink/rabbit-sink.toml"
"$tool" create "sqlite://$root/data/orders.db?mode=rwc" deploy/quickstart.sql
chmod 755 "$root"
chown -R 65532:65532 "$root/data"
# The worker, where nothing else is. (No function: a signal is to reach it, not a shell around it.)
chroot=$(command -v chroot || echo /usr/sbin/chroot)
config=RABBIT_SINK_CONFIG=/etc/rabbit-sink/rabbit-sink.toml
inside=("$chroot" --userspec=65532:65532 "$root" /rabbit-sink)
ours=(env -i "$config" RABBIT_SINK__RABBITMQ__URL="$url" "${inside[@]}")
without_broker=(env -i "$config" RABBIT_SINK__RABBITMQ__URL=amqp://localhost:1/ "${inside[@]}")

say "what it says of itself, and of the config"
"${ours[@]}" --version
"${ours[@]}" check --offline

say "orders into SQLite"
published=$("$tool" publish "$url" rabbit-sink-quickstart.orders 2000 100)
summary=$("${ours[@]}" run --until-empty --json 2>"$root/log")
echo "$published"
echo "$summary"
rows=$("$tool" show "sqlite://$root/data/orders.db" | tail -n 1)
[ "$rows" = 2000 ] || { cat "$root/log"; fail "$rows rows, not 2000"; }
grep -q '"duplicates":100' <<<"$summary" || fail "the repeats are not counted"

say "health, without a broker; and SIGTERM"
"${without_broker[@]}" run 2>"$root/log" &
worker=$!
for _ in $(seq 300); do
    if "${without_broker[@]}" health 2>/dev/null; then healthy=true; break; fi
    kill -0 "$worker" 2>/dev/null || { cat "$root/log"; fail "the worker has ended"; }
    sleep 0.1
done
${healthy:-false} || { cat "$root/log"; fail "it never was healthy"; }
kill "$worker"
wait "$worker" || fail "SIGTERM ended it with $?"
worker=
if "${ours[@]}" health 2>/dev/null; then fail "healthy although nothing runs"; fi
echo "1 passed, 0 failed"
