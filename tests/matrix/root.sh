#!/usr/bin/env bash
# Makes a folder with another release of Debian in it, to run that release's server in, and prints
# its path. One that is there is taken as it is.
#
# usage: root.sh NAME RELEASE PACKAGE…
set -euo pipefail

name=$1 release=$2
shift 2
packages=$(IFS=,; echo "$*")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rabbit-sink
root=$cache/$name
say() { echo "$*" >&2; }

mkdir -p "$cache"
# Two runs at once don't make it twice, nor one over the other.
exec 9>"$cache/.$name.lock"
flock 9
if [ -d "$root" ]; then
    echo "$root"
    exit 0
fi

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >&2; }
if ! command -v debootstrap >/dev/null; then
    say "installing debootstrap"
    apt update
    apt -y --no-install-recommends install debootstrap
fi
# The mirror that this machine uses itself. Known to apt once it has fetched its lists.
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | sed -n 1p; }
[ -n "$(mirror)" ] || apt update
mirror=$(mirror)
[ -n "$mirror" ] || { say "apt names no mirror of Debian: only a Debian machine can do this"; exit 1; }
# Signatures are checked. Testing and unstable are signed with the keys of the stable releases, so
# that this machine's are enough; where debootstrap doesn't know the key, a newer package
# debian-archive-keyring does.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keys" ] || apt -y --no-install-recommends install debian-archive-keyring
# Younger releases than debootstrap itself are unknown to it by their names: all are made as unstable is.
script=/usr/share/debootstrap/scripts/sid

# A folder counts when it has its name, and it gets that in the end.
unfinished=$cache/.unfinished-$name
log=$cache/.$name.log
trap 'rm -rf --one-file-system "$unfinished"' EXIT
rm -rf --one-file-system "$unfinished"
say "$name: making $* of Debian $release, some 40 s"
# In a mount namespace of its own: what debootstrap mounts is gone with it, even if it is killed.
if ! unshare --mount --propagation private \
    debootstrap --variant=minbase --keyring="$keys" --include="$packages" "$release" "$unfinished" "$mirror" "$script" \
    >"$log" 2>&1 </dev/null 9>&-; then
    tail -n 30 "$log" "$unfinished/debootstrap/debootstrap.log" >&2 || :
    exit 1
fi
rm -rf "$unfinished"/var/cache/apt/archives/*.deb "$log"
mv "$unfinished" "$root"
echo "$root"
