#!/usr/bin/env bash
# Runs a command while a root folder has what servers in it need, at the same paths as outside: the
# folder for temporary files with the servers' data, devices, processes, names of hosts.
#
# To be called in a mount namespace of its own (`unshare --mount --propagation private`): nobody else
# sees these mounts, and they are gone with the last process in it, however that ends.
#
# usage: inside.sh ROOT COMMAND ARGUMENT…
set -euo pipefail

root=$1
shift
temporary=${TMPDIR:-/tmp}
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mkdir -p "$root$temporary"
mount --bind "$temporary" "$root$temporary"
# Without it a RabbitMQ node hangs at its start.
cp /etc/hosts "$root/etc/hosts"
exec "$@"
