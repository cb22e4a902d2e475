#!/usr/bin/env bash
# Brings up a real Kubernetes API server (kube-apiserver and etcd) on 127.0.0.1
# and writes its kubeconfig, for server-side validation of manifests:
#
#   ./tests/kube/up.sh && . ./tests/kube/common.sh
#   kubectl create namespace t
#   helm template r CHART -n t | kubectl apply -n t --server-side --dry-run=server --validate=strict -f -
#
# Nothing makes Pods of Deployments, and there are no nodes: it judges what it is
# given, and that is all. The CRDs of KEDA and of the Prometheus Operator are there.
#
# What is missing is built first, from Go modules: minutes, the first time.
# KUBE_DIR, KUBE_PORT and KUBE_ETCD_PORT say where all of it lies and listens.
# ./tests/kube/down.sh stops it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
go=$("$here/../tools.sh" go)

mkdir -p "$K"/{bin,pki,data,log,run,crds}
exec 9>"$K/lock"
flock 9

# --- programs ---------------------------------------------------------------
# What kubectl and kube-apiserver say of their version is what they are built with.
build() { # NAME VERSION-LINE: a command of this folder's module
	[ -x "$K/bin/$1" ] && [ "$(cat "$K/bin/$1.version")" = "$2" ] && return
	echo "building $1 ($2)"
	local v=k8s.io/component-base/version minor=${VERSION#v1.}
	(cd "$here" && CGO_ENABLED=0 nice -n 10 "$go" build -trimpath \
		-ldflags "-s -w -X $v.gitVersion=$VERSION -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X $v.gitTreeState=clean" \
		-o "$K/bin/$1" "./$1")
	echo "$2" >"$K/bin/$1.version"
}

build etcd "etcd Version: ${ETCD_VERSION#v}"
build kube-apiserver "Kubernetes $VERSION"
build kubectl "Kubernetes $VERSION"

# --- certificates -----------------------------------------------------------
cd "$K/pki"
ca() { # FILE CN
	[ -f "$1.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$1.key" -out "$1.crt" -days 3650 -subj "/CN=$2" 2>/dev/null
}
cert() { # FILE SUBJECT EXTENSIONS
	[ -f "$1.crt" ] && return
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
		-out "$1.crt" -extfile <(printf '%s\n' "keyUsage=digitalSignature" "$3") 2>/dev/null
	rm "$1.csr"
}
kubeconfig() { # FILE CERT
	[ -f "$1" ] && grep -q "https://127.0.0.1:$PORT$" "$1" && return
	(umask 077; cat >"$1" <<END
apiVersion: v1
kind: Config
current-context: rabbit-sink
clusters:
- name: rabbit-sink
  cluster:
    server: https://127.0.0.1:$PORT
    certificate-authority-data: $(base64 -w0 ca.crt)
contexts:
- name: rabbit-sink
  context: {cluster: rabbit-sink, user: $2}
users:
- name: $2
  user:
    client-certificate-data: $(base64 -w0 "$2.crt")
    client-key-data: $(base64 -w0 "$2.key")
END
	)
}
ca ca rabbit-sink-ca
ca front-proxy-ca rabbit-sink-front-proxy-ca
cert apiserver /CN=kube-apiserver $'extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local'
cert admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
[ -f sa.key ] || { openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null; }
kubeconfig "$K/kubeconfig" admin

# --- etcd and the API server ------------------------------------------------
need_free etcd "$ETCD_PORT" $((ETCD_PORT + 1))
need_free kube-apiserver "$PORT"
start etcd --name rabbit-sink --data-dir "$K/data/etcd" --unsafe-no-fsync --log-outputs=stderr \
	--listen-client-urls "http://127.0.0.1:$ETCD_PORT" --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
	--listen-peer-urls "http://127.0.0.1:$((ETCD_PORT + 1))" --initial-advertise-peer-urls "http://127.0.0.1:$((ETCD_PORT + 1))" \
	--initial-cluster "rabbit-sink=http://127.0.0.1:$((ETCD_PORT + 1))"
until_ok 30 etcd curl -fsS --max-time 2 "http://127.0.0.1:$ETCD_PORT/health"

start kube-apiserver --etcd-servers="http://127.0.0.1:$ETCD_PORT" \
	--bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$PORT" --endpoint-reconciler-type=none \
	--tls-cert-file="$K/pki/apiserver.crt" --tls-private-key-file="$K/pki/apiserver.key" --client-ca-file="$K/pki/ca.crt" \
	--requestheader-client-ca-file="$K/pki/front-proxy-ca.crt" --requestheader-username-headers=X-Remote-User \
	--requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
	--service-account-issuer=https://kubernetes.default.svc.cluster.local \
	--service-account-key-file="$K/pki/sa.pub" --service-account-signing-key-file="$K/pki/sa.key" \
	--service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --profiling=false \
	--disable-admission-plugins=ServiceAccount # it wants an account "default", which nothing makes here
until_ok 120 kube-apiserver kubectl get --raw /readyz
until_ok 60 kube-apiserver kubectl get namespace default

# --- CRDs -------------------------------------------------------------------
cd "$here/crds"
for m in \
	github.com/kedacore/keda/v2:config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml \
	github.com/prometheus-operator/prometheus-operator:example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml; do
	f="$K/crds/${m##*/}"
	[ -f "$f" ] && continue
	"$go" mod download "${m%%:*}"
	install -m 644 "$("$go" list -mod=readonly -m -f '{{.Dir}}' "${m%%:*}")/${m#*:}" "$f"
done
kubectl apply --server-side --force-conflicts -f "$K/crds" >/dev/null
kubectl wait --for=condition=Established --timeout=60s -f "$K/crds" >/dev/null

echo "Kubernetes $VERSION at https://127.0.0.1:$PORT"
