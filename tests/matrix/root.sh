#!/usr/bin/env bash
# Makes a folder with another Debian release in it, to run that release's server in, and prints its
# path. One that an earlier call has made is taken as it is; delete it to get the release's newest.
#
# usage: root.sh NAME RELEASE PACKAGE…
set -euo pipefail

name=$1 release=$2
shift 2
packages=$(IFS=,; echo "$*")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rabbit-sink
root=$cache/$name

if [ -d "$root" ]; then
    echo "$root"
    exit 0
fi
if ! command -v debootstrap >/dev/null; then
    echo "installing debootstrap" >&2
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install debootstrap; } \
        </dev/null >&2
fi
# The mirror that this machine uses itself.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | sed -n 1p)
if [ -z "$mirror" ]; then
    echo "apt knows no mirror of Debian: is this a Debian machine, and has 'apt-get update' run?" >&2
    exit 1
fi
# Releases are younger than the debootstrap that is to make them: all of them are made like sid. Their
# signatures are checked with this machine's keys: testing and unstable are signed with those of the
# stable releases. Without a key in common debootstrap refuses; a newer package
# debian-archive-keyring helps then.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
script=/usr/share/debootstrap/scripts/sid

# A folder counts when it has its name. One that was interrupted hasn't.
mkdir -p "$cache"
# Every server's user has to get through.
chmod 755 "$cache"
unfinished=$(mktemp -d "$cache/.unfinished-$name-XXXXXX")
log=$unfinished.log
# Only what is on this file system: debootstrap mounts /proc, and may have been killed before it unmounts.
trap 'umount "$unfinished/proc" "$unfinished/sys" 2>/dev/null || :; rm -rf --one-file-system "$unfinished" "$log"' EXIT
echo "$name: $* from Debian $release" >&2
if ! debootstrap --variant=minbase --keyring="$keys" --include="$packages" "$release" "$unfinished" "$mirror" "$script" \
    >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" "$unfinished/debootstrap/debootstrap.log" >&2 || :
    exit 1
fi
umount "$unfinished/proc" "$unfinished/sys" 2>/dev/null || :
rm -rf "$unfinished"/var/cache/apt/archives/*.deb
chmod 755 "$unfinished"
mv "$unfinished" "$root"
echo "$root"
