// Command peers is what `make bench-admission` compares with: the webhook that one would write in Go. It decodes the
// StatefulSets of a review and parses their schedules with the module that Kubernetes itself parses them with.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/robfig/cron/v3"
	apps "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func main() {
	certificates := flag.String("certificates", "", "the folder with tls.crt and tls.key")
	port := flag.Int("port", 0, "where to listen on loopback")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := serve(ctrl.SetupSignalHandler(), *certificates, *port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, certificates string, port int) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := apps.AddToScheme(scheme); err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:        scheme,
		Metrics:       server.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certificates}),
	})
	if err != nil {
		return err
	}
	manager.GetWebhookServer().Register("/validate", admission.WithValidator(scheme, schedules{}))
	return manager.Start(ctx)
}

// schedules refuses StatefulSets whose schedule Kubernetes would refuse.
type schedules struct{}

func (schedules) ValidateCreate(_ context.Context, object *apps.StatefulSet) (admission.Warnings, error) {
	return nil, check(object)
}

func (schedules) ValidateUpdate(_ context.Context, _, object *apps.StatefulSet) (admission.Warnings, error) {
	return nil, check(object)
}

func (schedules) ValidateDelete(context.Context, *apps.StatefulSet) (admission.Warnings, error) {
	return nil, nil
}

func check(object *apps.StatefulSet) error {
	schedule, found := object.Annotations["etcd-defrag.io/schedule"]
	if !found {
		return nil
	}
	if _, err := cron.ParseStandard(schedule); err != nil {
		return fmt.Errorf("schedule %q: %w", schedule, err)
	}
	return nil
}
