#!/usr/bin/env bash
# Stops what up.sh started. --wipe: also forgets the cluster's state (not the
# programs and certificates).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
for p in kube-apiserver etcd; do stop "$p"; done
if [ "${1:-}" = --wipe ]; then rm -rf "$K/data"; fi
