// No program: it says which definitions of the Prometheus operator the chart is tried with, and go.sum what they have to be.
// "go mod tidy" would take the line out.
module definitions

go 1.24

require github.com/prometheus-operator/prometheus-operator v0.85.0
