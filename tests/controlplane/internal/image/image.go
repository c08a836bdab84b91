// Package image makes container images of static binaries, without a daemon.
package image

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch is the time of everything in an image, so that equal contents make
// equal images.
var epoch = time.Unix(0, 0).UTC()

const usage = `usage: controlplane image --out ARCHIVE --name NAME[:TAG] [OPTIONS] FILE=PATH...

Writes an image of one layer with the FILEs of this machine at the PATHs, each
executable, as an archive that "docker load" and containerd take. It runs the
first one, as the user 65532.

Options:
`

// spec is what an image is to be like.
type spec struct {
	out, name string
	files     []file
}

type file struct {
	source, target string
}

// Make is the subcommand "image".
func Make(args []string) int {
	var s spec
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&s.out, "out", "", "`archive` to write (required)")
	flags.StringVar(&s.name, "name", "", "`name` of the image (required)")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if flags.Parse(args[1:]) != nil {
		return 2
	}
	for _, argument := range flags.Args() {
		source, target, found := strings.Cut(argument, "=")
		if !found || !path.IsAbs(target) {
			fmt.Fprintf(flags.Output(), "controlplane image: %q is not of the form FILE=/PATH\n", argument)
			return 2
		}
		s.files = append(s.files, file{source, target})
	}
	if s.out == "" || s.name == "" || len(s.files) == 0 {
		flags.Usage()
		return 2
	}
	if err := s.write(); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane image: %v\n", err)
		return 1
	}
	return 0
}

func (s spec) write() error {
	tag, err := name.NewTag(s.name)
	if err != nil {
		return err
	}
	contents, err := layer(s.files)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, contents)
	if err != nil {
		return err
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      v1.Time{Time: epoch},
		Config: v1.Config{
			Entrypoint: []string{s.files[0].target},
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
			User:       "65532:65532",
		},
		RootFS: rootFS(image),
	})
	if err != nil {
		return err
	}
	return tarball.WriteToFile(s.out, tag, image)
}

// rootFS of an image: what ConfigFile replaces has to keep it.
func rootFS(image v1.Image) v1.RootFS {
	config, err := image.ConfigFile()
	if err != nil {
		return v1.RootFS{}
	}
	return config.RootFS
}

func layer(files []file) (v1.Layer, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	// What a program without a distribution around it may write to.
	if err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, ModTime: epoch,
	}); err != nil {
		return nil, err
	}
	// A file that goes to several paths is stored once.
	stored := map[string]string{}
	for _, f := range files {
		target := strings.TrimPrefix(f.target, "/")
		if first, again := stored[f.source]; again {
			if err := archive.WriteHeader(&tar.Header{
				Typeflag: tar.TypeLink, Name: target, Linkname: first, Mode: 0o755, ModTime: epoch,
			}); err != nil {
				return nil, err
			}
			continue
		}
		stored[f.source] = target
		contents, err := os.ReadFile(f.source)
		if err != nil {
			return nil, err
		}
		err = archive.WriteHeader(&tar.Header{
			Name: target, Size: int64(len(contents)), Mode: 0o755, ModTime: epoch,
		})
		if err != nil {
			return nil, err
		}
		if _, err := archive.Write(contents); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	})
}
