// Command etcd-defrag-stand-in runs in the pods of Jobs where the engine
// etcd-defrag, which is neither a Go module nor a package, is not on PATH.
package main

import (
	"os"

	"controlplane/internal/standin"
)

func main() {
	os.Exit(standin.Main(os.Args))
}
