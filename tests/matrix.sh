#!/usr/bin/env bash
# Runs the main job, the values, the verdicts and the faults against servers of other versions, and
# writes docs/compatibility.md.
set -euo pipefail
cd "$(dirname "$0")/.."

names=$(sed -n 's/^\([a-z].*\)$/\1/p' tests/matrix/servers | awk '{ print $1 }')

usage() {
    cat <<END
usage: ./tests/matrix.sh [NAME]
       ./tests/matrix.sh --page

  NAME     one of: $(echo $names)
           without it, all of them, one after the other
  --page   only writes docs/compatibility.md anew from tests/matrix/page.md and the lines that it has

Each server comes from its own release of Debian, in a folder below
${XDG_CACHE_HOME:-$HOME/.cache}/rabbit-sink that is made once. Delete a folder to get the newest
packages of its release. The other two servers are this machine's own. Needs root, and a Debian.
END
}

page=false
case ${1-} in
    -h | --help) usage; exit 0 ;;
    --page) page=true; shift ;;
    -*) usage >&2; exit 2 ;;
esac
[ $# -le 1 ] || { usage >&2; exit 2; }
wanted=$names
if [ $# -eq 1 ]; then
    wanted=$(grep -Fx -- "$1" <<<"$names") || { usage >&2; exit 2; }
fi
$page || [ "$(id -u)" -eq 0 ] || { echo "only root may mount and chroot" >&2; exit 1; }

begin=$SECONDS
total=$(wc -w <<<"$wanted")
# Most tests wait for servers. More at a time would only make them wait for each other.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-3}
codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The variable that names a server's root, the binary whose tests all concern it, and which tests of
# the binary `main` do, and which of these don't after all (as regular expressions). How much memory
# 200,000 messages take isn't the broker's.
concerns() {
    local all='main_job|values|verdicts|versions'
    case $1 in
        rabbitmq-*) echo RABBIT_SINK_TEST_RABBITMQ_ROOT rabbitmq "^($all|places|worker|faults_broker|dlq|dlq_table|check::broker)::" '^versions::(mysql|postgres)|slow_holding_before|dlq.*::many' ;;
        postgres-*) echo RABBIT_SINK_TEST_POSTGRES_ROOT sinks "^($all|faults_database)::" 'mysql|mariadb|sqlite|::rabbitmq' ;;
        mysql-* | mariadb-*) echo RABBIT_SINK_TEST_MYSQL_ROOT sinks_mysql "^($all|faults_database)::" 'postgres|sqlite|::rabbitmq' ;;
    esac
}

# The names of tests in a binary.
tests_in() { cargo test --quiet --test "$1" -- --list --format terse 2>/dev/null | sed -n 's/: test$//p'; }

# Runs a server's tests; their output goes to $work/log, the servers' versions to $work/versions.
run_tests() {
    local name=$1 root=$2 variable binary pattern not inside=()
    read -r variable binary pattern not < <(concerns "$name")
    { tests_in main | grep -E "$pattern" | grep -vE "$not"; tests_in "$binary"; } >"$work/tests"
    mapfile -t tests <"$work/tests"
    # Without a name, all would be run.
    [ ${#tests[@]} -gt 20 ] || { echo "only ${#tests[@]} tests were found" >&2; return 1; }
    if [ -n "$root" ]; then
        inside=(unshare --mount --propagation private env "$variable=$root" tests/matrix/inside.sh "$root")
    fi
    rm -f "$work/versions" "$work/log"
    # Called by its path: below `cargo run`, Cargo's own variables make it build some packages anew.
    "${inside[@]}" "$target/debug/examples/with-servers" bash -c '
        echo "$RABBIT_SINK_TEST_VERSIONS" >"$1"
        binary=$2
        shift 2
        exec cargo test --no-fail-fast --test main --test "$binary" -- --exact "$@"
    ' bash "$work/versions" "$binary" "${tests[@]}" 2>&1 | tee "$work/log"
}

# Which of the three servers' versions it is, and that it is the one that the name says.
version_of() {
    local name=$1 product version
    case $name in
        rabbitmq-*) product=RabbitMQ ;;
        postgres-*) product=PostgreSQL ;;
        mariadb-*) product=MariaDB ;;
        mysql-*) product=MySQL ;;
    esac
    version=$(tr ',' '\n' <"$work/versions" | sed -n "s/^ *$product //p")
    case $version. in
        "${name#*-}".*) echo "$product $version" ;;
        *) echo "$name: the server says it is '$product $version'" >&2; return 1 ;;
    esac
}

# `test result: ok. 12 passed; 0 failed; …`, once for each binary.
result() {
    local passed failed
    read -r passed failed < <(sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; \([0-9]*\) failed.*/\1 \2/p' "$work/log" |
        awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
    if [ "$failed" -gt 0 ]; then
        echo "**$failed failed**, $passed passed: $(sed -n 's/^test \(.*\) \.\.\. FAILED$/`\1`/p' "$work/log" | paste -sd' ')"
    elif [ "$((passed + failed))" -ne "$(wc -l <"$work/tests")" ]; then
        echo "**stopped** after $passed tests of $(wc -l <"$work/tests")"
    else
        echo "$passed passed"
    fi
}

# The commit, with a mark if what was tried isn't exactly that.
commit() {
    local changed=
    [ -z "$(git status --porcelain -- . ':!docs/compatibility.md')" ] || changed=' and changes'
    echo "\`$(git rev-parse --short=7 HEAD)\`$changed"
}

# Puts one server's line into the page; the others stay.
write_line() {
    local name=$1 line=$2 page=docs/compatibility.md other text
    touch "$page"
    while IFS= read -r text; do
        if [ "$text" != '(lines)' ]; then
            printf '%s\n' "$text"
            continue
        fi
        for other in $names; do
            if [ "$other" = "$name" ]; then printf '%s\n' "$line"; else grep -F "| \`$other\` |" "$page" || :; fi
        done
    done <tests/matrix/page.md >"$work/page"
    cp "$work/page" "$page"
}

try() {
    local name=$1 release packages root='' from version result tried good=true
    read -r _ release packages < <(grep "^$name " tests/matrix/servers)
    if [ "$release" != "$codename" ]; then
        # Several packages are several words.
        # shellcheck disable=SC2086
        root=$(tests/matrix/root.sh "$name" "$release" $packages) || return 1
    fi
    # What is tried, whatever changes meanwhile.
    tried=$(commit)
    run_tests "$name" "$root" || good=false
    [ -s "$work/versions" ] || { echo "$name: its servers didn't start" >&2; return 1; }
    version=$(version_of "$name") || return 1
    result=$(result)
    from="Debian $release, $(uname -sm)"
    write_line "$name" "| \`$name\` | $version | $from | $result | $(date -u +%F) | $tried |"
    echo "$name: $version, $result"
    $good
}

if $page; then
    write_line '' ''
    exit 0
fi
./tests/install.sh
cargo build --quiet --example with-servers
cargo test --no-run
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
count=0 bad=()
for name in $wanted; do
    count=$((count + 1))
    printf '\n[%s/%s] %s (%d s)\n' "$count" "$total" "$name" "$((SECONDS - begin))"
    try "$name" || bad+=("$name")
done
printf '\n%d of %d servers passed, %d s; docs/compatibility.md says what was tried\n' \
    "$((total - ${#bad[@]}))" "$total" "$((SECONDS - begin))"
[ ${#bad[@]} -eq 0 ] || { echo "failed: ${bad[*]}" >&2; exit 1; }
