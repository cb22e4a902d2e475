#!/usr/bin/env bash
# Brings the programs that the section `peers` measures, each in its pinned version, and prints the folder where they
# are: Python packages into an environment of their own, Maven's artifacts, a Go module, a crate.
set -euo pipefail

cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
into=$root/target/benches/peers
mkdir -p "$into"

if ! [ "$into/python/.installed" -nt python/requirements.txt ]; then
    echo "peers: Python packages" >&2
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || "$root/tests/install.sh" --python >&2
    rm -rf "$into/python"
    /usr/bin/python3 -m venv "$into/python" >&2
    "$into/python/bin/pip" --quiet --disable-pip-version-check install -r python/requirements.txt >&2
    touch "$into/python/.installed"
fi

"$root/tests/install.sh" --java >&2
if ! [ "$into/spring/.built" -nt spring/pom.xml ] || ! [ "$into/spring/.built" -nt spring/src/main/java/Consumer.java ]; then
    echo "peers: Spring" >&2
    mvn -q -B -f spring/pom.xml process-classes "-Dinto=$into/spring" >&2
    touch "$into/spring/.built"
fi

ln -sf "$("$root/tests/tools.sh" telegraf)" "$into/telegraf"

cargo build --release --manifest-path mq-bridge/Cargo.toml --target-dir "$root/target/benches/mq-bridge" >&2
ln -sf "$root/target/benches/mq-bridge/release/mq-bridge-peer" "$into/mq-bridge-peer"
echo "$into"
