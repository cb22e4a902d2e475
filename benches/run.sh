#!/usr/bin/env bash
# Measures the worker against programs written by hand, on private servers, and writes benches/RESULTS.md.
# The machine should have nothing else to do: all of it takes an hour and a half on two cores.
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
    echo
    echo "Sections: $(sed -n 's/^    section("\([a-z]*\)".*/\1/p' "${BASH_SOURCE[0]%/*}/sections.rs" | tr '\n' ' ')"
}

other=
arguments=("$@")
case ${1:-} in
    -h | --help) usage; exit 0 ;;
    --quick)
        [ $# -eq 2 ] || { usage >&2; exit 2; }
        other=$2
        arguments=(--runs 3 --messages 50000 compare)
        ;;
esac
cd "$(dirname "$0")/.."

# wanted SECTION: it was named, or none was.
wanted() {
    local word skip=false named=false
    for word in "${arguments[@]}"; do
        if $skip; then
            skip=false
        elif [[ $word == --* ]]; then
            skip=true
        else
            named=true
            [ "$word" = "$1" ] && return 0
        fi
    done
    ! $named
}

# other_worker COMMIT: where its worker is, built if need be.
other_worker() {
    local commit file tree=$PWD/target/benches/tree
    commit=$(git rev-parse --verify "$1^{commit}")
    file=$PWD/target/benches/other/$commit
    if [ ! -x "$file" ]; then
        trap 'git worktree remove --force "$tree"' EXIT
        git worktree add --force --detach "$tree" "$commit" >&2
        cargo build --release --bin rabbit-sink --manifest-path "$tree/Cargo.toml" --target-dir target/benches/build >&2
        mkdir -p target/benches/other
        cp target/benches/build/release/rabbit-sink "$file"
    fi
    echo "$file"
}

./tests/install.sh
cargo build --release --bin rabbit-sink
export RABBIT_SINK_BENCH_WORKER=$PWD/target/release/rabbit-sink
if [ -n "$other" ]; then
    RABBIT_SINK_BENCH_OTHER=$(other_worker "$other")
    export RABBIT_SINK_BENCH_OTHER
else
    cargo build --release --manifest-path benches/floor/Cargo.toml --target-dir target/benches/floor
    export RABBIT_SINK_BENCH_FLOOR=$PWD/target/benches/floor/release/floor
fi
if wanted micro || wanted instructions; then
    ./tests/install.sh --valgrind
    RABBIT_SINK_BENCH_MICRO=$(cargo bench --bench micro --no-run --message-format=json-render-diagnostics |
        sed -n 's/.*"name":"micro".*"executable":"\([^"]*\)".*/\1/p')
    export RABBIT_SINK_BENCH_MICRO
fi
if wanted peers; then
    RABBIT_SINK_BENCH_PEERS=$(./benches/peers/install.sh)
    export RABBIT_SINK_BENCH_PEERS
fi
cargo bench --quiet --profile quick --bench against-the-floor -- "${arguments[@]}"
if [ -z "$other" ]; then echo "benches/RESULTS.md is written"; fi
