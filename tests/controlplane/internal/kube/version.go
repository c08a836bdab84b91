package kube

import "k8s.io/component-base/version"

// serverVersion of the Kubernetes inside this binary, such as v1.37.2.
func serverVersion() string {
	return version.Get().GitVersion
}
