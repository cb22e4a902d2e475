#!/usr/bin/env bash
# Breaks everything that can break around a running worker, and writes what became of the messages
# into tests/FAULTS.md. Servers are real and private, as in ./tests/run.sh.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./tests/faults.sh [--fresh] [--keep] [NAME]

  --fresh   begins anew; else what an interrupted run has done is not done again
  --keep    leaves the servers running for the next run, which takes them over
  NAME      only this fault, or those whose names begin so
END
}

keep=() name=
for word in "$@"; do
    case $word in
        --fresh) export RABBIT_SINK_TEST_FAULTS_FRESH=1 ;;
        --keep) keep=(--keep) ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *) [ -z "$name" ] || { usage >&2; exit 2; }; name=$word ;;
    esac
done

cd "$(dirname "$0")/.."
./tests/install.sh
cargo build --examples
cargo test --test main --no-run
# Called by its path: below `cargo run`, Cargo's own variables make it build some packages anew.
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export RABBIT_SINK_TEST_FAULT=$name
"$target/debug/examples/with-servers" "${keep[@]}" --minutes 240 \
    cargo test --quiet --test main -- --exact faults::matrix::matrix --ignored --nocapture ||
    { echo "not all is right: see above, and tests/FAULTS.md" >&2; exit 1; }
