// Names the modules whose CustomResourceDefinitions ../up.sh creates. It takes
// only these modules themselves (go mod download), never what they depend on,
// so don't tidy it: that would add 500 lines of go.sum.
module rabbit-sink.invalid/tests/kube/crds

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
