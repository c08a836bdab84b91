// Command image is "controlplane image" by itself: it builds in seconds, without
// Kubernetes, for scripts that only make an image.
package main

import (
	"os"

	"controlplane/internal/image"
)

func main() { os.Exit(image.Make(append([]string{"image"}, os.Args[1:]...))) }
