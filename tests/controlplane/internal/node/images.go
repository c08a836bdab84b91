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
	if err := awaitServing(ctx, client); err != nil {
		return err
	}
	for _, archive := range archives {
		if err := loadOne(ctx, client, archive); err != nil {
			return fmt.Errorf("load the image %s: %w", archive, err)
		}
	}
	return nil
}

// awaitServing waits until containerd answers. Any other call fails at once
// where it comes between the moments at which the socket appears and is
// listened on: the dialer tries again only as long as there is no socket.
func awaitServing(ctx context.Context, client *containerd.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		serving, err := client.IsServing(ctx)
		if err != nil {
			return fmt.Errorf("wait for containerd: %w", err)
		}
		if serving {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
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
