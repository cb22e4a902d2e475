#!/usr/bin/env bash
# Puts all that the chart renders before a real Kubernetes API server, in namespaces that take restricted pods only:
# applied by the server, strictly, warnings being errors; upgraded from each set of values to the next; and broken on
# purpose, to see that this server refuses what is wrong. Minutes the first time, for the server is built.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=$(./tests/tools.sh helm)
chart=deploy/helm/rabbit-sink

# What up.sh finds running stays.
. tests/kube/common.sh
ours=true
running kube-apiserver && ours=false
work=$(mktemp -d)
finish() {
    status=$?
    trap - EXIT INT TERM
    ! $ours || ./tests/kube/down.sh --wipe >/dev/null
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT INT TERM
./tests/kube/up.sh

passed=0 failed=0
ok() { passed=$((passed + 1)); echo "ok      $*"; }
bad() {
    failed=$((failed + 1))
    echo "FAILED  $*"
    sed 's/^/        /' "$work/said"
}
# try WHAT COMMAND…
try() {
    local what=$1
    shift
    if "$@" >"$work/said" 2>&1; then ok "$what"; else bad "$what"; fi
}
# refused WHAT WORDS COMMAND…: fails, and says the words
refused() {
    local what=$1 words=$2
    shift 2
    if ! "$@" >"$work/said" 2>&1 && grep -q "$words" "$work/said"; then ok "refused: $what"; else bad "not refused: $what"; fi
}

# namespace NAME
namespace() {
    kubectl delete namespace "$1" --ignore-not-found --wait=false >/dev/null
    kubectl get namespace "$1" >/dev/null 2>&1 && kubectl replace --raw "/api/v1/namespaces/$1/finalize" -f <(
        kubectl get namespace "$1" -o json | sed '/"finalizers"/,/]/d'
    ) >/dev/null
    kubectl create -f - >/dev/null <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $1
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
END
}

apply() { kubectl apply -n "$1" --server-side --validate=strict --warnings-as-errors -f "$2"; }

# The pod that a Deployment or CronJob would make: nothing makes it here, and only of pods is it enforced that they are
# restricted.
pod() {
    local namespace=$1 kind=$2 path=$3 spec
    spec=$(kubectl get -n "$namespace" "$kind" -o "jsonpath={.items[0]$path.spec}")
    [ -n "$spec" ] || { echo "no $kind"; return 1; }
    printf '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": %s}' "$spec" >"$work/pod.json"
    kubectl create -n "$namespace" --dry-run=server --validate=strict --warnings-as-errors -f "$work/pod.json"
}
pods() {
    case $2 in
        cronjob) pod "$1" cronjob .spec.jobTemplate.spec.template ;;
        *) pod "$1" deployment .spec.template ;;
    esac
}

echo
echo "== each set of values, applied"
sets=()
for values in "$chart"/ci/*-values.yaml; do
    name=$(basename "$values" -values.yaml)
    sets+=("$name")
    namespace "$name"
    "$helm" template shop "$chart" -n "$name" -f "$values" >"$work/$name.yaml"
    try "$name" apply "$name" "$work/$name.yaml"
    try "$name: its pod is admitted" pods "$name" "$name"
done
[ ${#sets[@]} -ge 6 ] || { echo "only ${#sets[@]} sets of values" >&2; exit 1; }
namespace manifests
try "deploy/kubernetes.yaml" apply manifests deploy/kubernetes.yaml
try "deploy/kubernetes.yaml: its pod is admitted" pods manifests deployment

echo
echo "== one release, upgraded from each set of values to the next, and back"
namespace upgrades
for name in "${sets[@]}"; do
    try "upgrade to $name" "$helm" upgrade --install shop "$chart" -n upgrades --set fullnameOverride=shop \
        --set serviceAccount.name=shop -f "$chart/ci/$name-values.yaml"
done
try "roll back" "$helm" rollback shop 1 -n upgrades
try "uninstall" "$helm" uninstall shop -n upgrades
left=$(kubectl get -n upgrades deploy,cronjob,configmap,service,pdb,networkpolicy,hpa,scaledobject,servicemonitor -o name | grep -v kube-root-ca || :)
echo "$left" >"$work/said"
if [ -z "$left" ]; then ok "nothing is left"; else bad "left behind"; fi

echo
echo "== what is wrong is refused"
# spoilt WHAT SET WORDS SED: a rendering with one line changed
spoilt() {
    sed "$4" "$work/$2.yaml" >"$work/spoilt.yaml"
    if cmp -s "$work/$2.yaml" "$work/spoilt.yaml"; then
        echo "nothing was changed" >"$work/said"
        bad "$1"
    else
        refused "$1" "$3" apply "$2" "$work/spoilt.yaml"
    fi
}
spoilt "a pod that may run as root" least 'restricted' 's/runAsNonRoot: true/runAsNonRoot: false/'
spoilt "a container that keeps capabilities" least 'restricted' '/drop:/,+1d; s/capabilities:/capabilities: {}/'
spoilt "a field that is not there" least 'not declared in schema' 's/readinessProbe:/readynessProbe:/'
spoilt "a request above its limit" least 'must be less than or equal' 's/memory: 128Mi/memory: 1Gi/'
spoilt "a selector that does not match" least 'selector' '0,/matchLabels:/s/matchLabels:/matchLabels: {app: other}\n    wrong:/'
spoilt "a job without a schedule" cronjob 'schedule' 's/schedule: .*/schedule: "often"/'
spoilt "a network that is none" network 'CIDR' 's#10.0.0.0/8#10.0.0.0/80#'
spoilt "a field that KEDA does not know" keda 'not declared in schema' 's/cooldownPeriod/coolDownPeriod/'
spoilt "an interval that is none" network 'interval' 's/interval: 30s/interval: often/'
namespace baseline
refused "a pod with rights" "violates PodSecurity" kubectl create -n baseline --dry-run=server -f - <<'END'
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
END

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
