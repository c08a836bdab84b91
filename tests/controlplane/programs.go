package main

import (
	"os"
	_ "time/tzdata" // CronJob time zones, on machines without a zone database

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
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
)

// programs are entered as their own main functions enter them. They read
// os.Args, so that is set first.
var programs = map[string]command{
	"etcd": asProgram(func() int {
		etcdmain.Main(os.Args)
		return 0
	}),
	"etcdctl": asProgram(func() int {
		ctlv3.MustStart()
		return 0
	}),
	"kube-apiserver": asProgram(func() int {
		return cli.Run(apiserver.NewAPIServerCommand())
	}),
	"kube-controller-manager": asProgram(func() int {
		return cli.Run(controllermanager.NewControllerManagerCommand())
	}),
	"kubectl": asProgram(runKubectl),
}

func asProgram(main func() int) command {
	return func(args []string) int {
		os.Args = args
		// etcdctl's package switches this on for the whole process; the others
		// take no abbreviated subcommands.
		cobra.EnablePrefixMatching = args[0] == "etcdctl"
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
