#!/usr/bin/env bash
# Measures the worker against programs written by hand, on private servers, and writes benches/RESULTS.md.
# The machine should have nothing else to do: all of it takes about two hours on two cores.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./benches/run.sh [--runs N] [--messages N] [SECTION]…
       ./benches/run.sh --quick COMMIT

  --runs N       rounds (5), in each of which every program has its turn
  --messages N   in a backlog (200000)
  --quick        this tree against another commit: has it become slower? Some minutes, once that is built
  SECTION        only these; the page keeps what others have measured before
END
}

other=
case ${1:-} in
    -h | --help) usage; exit 0 ;;
    --quick)
        [ $# -eq 2 ] || { usage >&2; exit 2; }
        other=$2
        set -- --runs 3 --messages 50000 compare
        ;;
esac
cd "$(dirname "$0")/.."
./tests/install.sh
cargo build --release --bin rabbit-sink
cargo build --release --manifest-path benches/floor/Cargo.toml
export RABBIT_SINK_BENCH_WORKER=$PWD/target/release/rabbit-sink
export RABBIT_SINK_BENCH_FLOOR=$PWD/benches/floor/target/release/floor
if [ -n "$other" ]; then
    commit=$(git rev-parse --verify "$other^{commit}")
    export RABBIT_SINK_BENCH_OTHER=$PWD/target/benches/other/$commit
    if [ ! -x "$RABBIT_SINK_BENCH_OTHER" ]; then
        tree=$PWD/target/benches/tree
        trap 'git worktree remove --force "$tree"' EXIT
        git worktree add --force --detach "$tree" "$commit"
        cargo build --release --bin rabbit-sink --manifest-path "$tree/Cargo.toml" --target-dir target/benches/build
        mkdir -p target/benches/other
        cp target/benches/build/release/rabbit-sink "$RABBIT_SINK_BENCH_OTHER"
    fi
fi
cargo bench --quiet --profile quick --bench against-the-floor -- "$@"
echo "benches/RESULTS.md is written"
