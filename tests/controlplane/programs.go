package main

import (
	"context"
	"os"
	_ "time/tzdata" // CronJob time zones, on machines without a zone database

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"controlplane/internal/etcdprograms"
)

// programs are entered as their own main functions enter them. They read
// os.Args, so that is set first.
var programs = map[string]command{
	"etcd":    asProgram(etcdprograms.Etcd),
	"etcdctl": asProgram(etcdprograms.Etcdctl),
	"kube-apiserver": asProgram(func() int {
		return cli.Run(apiserver.NewAPIServerCommand())
	}),
	"kube-controller-manager": asProgram(func() int {
		return cli.Run(controllermanager.NewControllerManagerCommand())
	}),
	"kube-proxy": asProgram(func() int {
		return cli.Run(proxy.NewProxyCommand())
	}),
	"kube-scheduler": asProgram(func() int {
		return cli.Run(scheduler.NewSchedulerCommand())
	}),
	"kubelet": asProgram(func() int {
		return cli.Run(kubelet.NewKubeletCommand(context.Background()))
	}),
	"kubectl": asProgram(runKubectl),
}

func asProgram(main func() int) command {
	return func(args []string) int {
		os.Args = args
		// See etcdprograms.Etcdctl.
		cobra.EnablePrefixMatching = false
		return main()
	}
}

func runKubectl() int {
	// kubectl logs while it builds its command tree, before flags are parsed.
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}
