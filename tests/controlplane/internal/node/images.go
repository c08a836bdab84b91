package node

import (
	"context"
	"fmt"
	"os"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// load waits for containerd and gives it the images, unpacked.
func load(ctx context.Context, archives []string) error {
	ctx = namespaces.WithNamespace(ctx, "k8s.io")
	client, err := containerd.New(containerdSocket, containerd.WithTimeout(30*time.Second))
	if err != nil {
		return fmt.Errorf("reach containerd: %w", err)
	}
	defer client.Close()
	for _, archive := range archives {
		if err := loadOne(ctx, client, archive); err != nil {
			return fmt.Errorf("load the image %s: %w", archive, err)
		}
	}
	return nil
}

func loadOne(ctx context.Context, client *containerd.Client, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	images, err := client.Import(ctx, file)
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := containerd.NewImage(client, image).Unpack(ctx, snapshotter); err != nil {
			return err
		}
	}
	return nil
}
