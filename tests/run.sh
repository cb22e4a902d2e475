#!/usr/bin/env bash
# Runs the tests against real servers, which it installs where they are missing and starts as
# private nodes on free ports with their data below the folder for temporary files.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./tests/run.sh [--quick] [--keep] [NAME]

  --quick   before each commit: leaves out tests whose names begin with slow_
  --keep    leaves the servers running for the next run, which takes them over
  NAME      only tests with NAME in their names
END
}

quick=false keep=() name=()
for word in "$@"; do
    case $word in
        --quick) quick=true ;;
        --keep) keep=(--keep) ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *) name+=("$word") ;;
    esac
done
[ ${#name[@]} -le 1 ] || { usage >&2; exit 2; }

cd "$(dirname "$0")/.."
begin=$SECONDS
part() { printf '\n[%s] %s (%d s)\n' "$1" "$2" "$((SECONDS - begin))"; }

part 1/4 "servers and tools: find or install"
./tests/install.sh
for tool in helm actionlint compose hadolint; do ./tests/tools.sh "$tool"; done

part 2/4 "build"
cargo build --example with-servers
cargo test --no-run
cargo build --bench against-the-floor
# Called by its path: below `cargo run`, Cargo's own variables make it build some packages anew.
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

part 3/4 "start the servers, run the tests, stop the servers"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
only=(--no-fail-fast)
skip=()
if $quick; then
    # The examples in the documentation are compiled one by one: not before each commit.
    only+=(--lib --bins --tests)
    skip=(--skip slow_)
fi
# Most tests wait for servers. More at a time would only make them wait for each other.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-3}
failed=false
"$target/debug/examples/with-servers" "${keep[@]}" cargo test "${only[@]}" "${name[@]}" -- "${skip[@]}" 2>&1 |
    tee "$log" || failed=true

part 4/4 "result"
# `test result: ok. 12 passed; 0 failed; 1 ignored; …`, once for each binary.
read -r passed broken ignored < <(sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$log" |
    awk '{ p += $1; f += $2; i += $3 } END { print p + 0, f + 0, i + 0 }')
sed -n 's/^test \(.*\) \.\.\. FAILED$/FAILED \1/p' "$log"
echo "$((passed + broken)) tests run: $passed passed, $broken failed, $ignored ignored, $((SECONDS - begin)) s"
if $failed; then
    echo "the tests failed" >&2
    exit 1
fi
if [ "$passed" -eq 0 ]; then
    echo "no test was run${name[0]:+: none has ${name[0]} in its name}" >&2
    exit 1
fi
