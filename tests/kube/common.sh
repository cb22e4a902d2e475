# Sourced by up.sh, down.sh and by ../deploy.sh.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Everything that is made lies here.
K=${KUBE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rabbit-sink/kube}
export KUBECONFIG=$K/kubeconfig
kubectl() { "$K/bin/kubectl" "$@"; }
PORT=${KUBE_PORT:-16443}               # kube-apiserver, 127.0.0.1 only
ETCD_PORT=${KUBE_ETCD_PORT:-16379}     # etcd clients; peers: one more
version_of() { sed -n "s#^\(require \)\?[[:space:]]*$1 \(v[^ ]*\).*#\2#p" "$here/go.mod" | head -1; }
VERSION=$(version_of k8s.io/kubernetes)
ETCD_VERSION=$(version_of go.etcd.io/etcd/server/v3)

# running NAME: whether $K/run/NAME.pid names a live process of ours
running() {
	local pid exe
	pid=$(cat "$K/run/$1.pid" 2>/dev/null) || return 1
	exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
	[ "${exe% (deleted)}" = "$(readlink -f "$K/bin/$1")" ]
}

# stop NAME: ends it, if it is ours and alive
stop() {
	local pid i
	if running "$1"; then
		pid=$(cat "$K/run/$1.pid")
		kill "$pid"
		for i in $(seq 100); do running "$1" || break; sleep 0.1; done
		if running "$1"; then kill -9 "$pid"; fi
		echo "stopped $1 ($pid)"
	fi
	rm -f "$K/run/$1.pid"
}

# start NAME ARGS...: in the background, detached, its log in $K/log/NAME.log
start() {
	local name=$1 pid i; shift
	if running "$name"; then echo "$name runs already ($(cat "$K/run/$name.pid"))"; return; fi
	setsid nohup "$K/bin/$name" "$@" >"$K/log/$name.log" 2>&1 </dev/null 9>&- &
	pid=$!
	echo $pid >"$K/run/$name.pid"
	for i in $(seq 50); do # until setsid and nohup have given way to it
		if running "$name" || ! kill -0 $pid 2>/dev/null; then break; fi
		sleep 0.02
	done
	echo "started $name ($pid)"
}

# need_free NAME PORT...: NAME runs already, or nothing listens on its ports
need_free() {
	local name=$1 p; shift
	if running "$name"; then return; fi
	for p in "$@"; do
		if (: <>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
			echo "up.sh: 127.0.0.1:$p, wanted for $name, is in use; see KUBE_PORT and KUBE_ETCD_PORT" >&2
			return 1
		fi
	done
}

# until_ok SECONDS NAME COMMAND...: waits till NAME runs and the command succeeds
until_ok() {
	local n=$(($1 * 5)) name=$2 i; shift 2
	for i in $(seq "$n"); do
		if ! running "$name"; then echo "up.sh: $name has ended" >&2; break; fi
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.2
	done
	echo "up.sh: $name is not ready; the end of $K/log/$name.log:" >&2
	tail -n 20 "$K/log/$name.log" >&2
	return 1
}
