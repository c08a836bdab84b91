// Package image makes container images of static binaries, without a daemon.
package image

import (
	"errors"
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
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user of the program in an image, with its group: by number, or the kubelet
// cannot tell that it is not root.
const user = "65532:65532"

const usage = `usage: controlplane image --out ARCHIVE --name NAME[:TAG] [OPTIONS] FILE=PATH...

Writes an image of one layer with the FILEs of this machine at the PATHs, each
executable, as an archive that "docker load", podman, containerd and crane take.
It runs the first one, as the user 65532. Equal contents and options make equal
archives.

Options:
`

// spec is what an image is to be like.
type spec struct {
	out, name    string
	architecture string
	created      time.Time
	labels       map[string]string
	bare, report bool
	files        []file
}

type file struct {
	source, target string
}

// Make is the subcommand "image".
func Make(args []string) int {
	s, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "controlplane image: %v\n", err)
		return 2
	}
	if err := s.write(os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane image: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string) (spec, error) {
	s := spec{labels: map[string]string{}}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&s.out, "out", "", "`archive` to write (required)")
	flags.StringVar(&s.name, "name", "", "`name` of the image (required)")
	flags.StringVar(&s.architecture, "architecture", runtime.GOARCH, "`architecture` of the files, as Go names it")
	flags.BoolVar(&s.bare, "bare", false, "nothing besides the files: no /tmp, no PATH")
	flags.BoolVar(&s.report, "report", false, "say what the image is: name, digest, size, files")
	created := flags.Int64("created", 0, "when it was made, in `seconds` since 1970; files have this time too")
	flags.Func("label", "`KEY=VALUE` of a label, which is an annotation of the manifest too; repeatable", func(label string) error {
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			return errors.New("it is not of the form KEY=VALUE")
		}
		s.labels[key] = value
		return nil
	})
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args[1:]); err != nil {
		return s, err
	}
	s.created = time.Unix(*created, 0).UTC()
	for _, argument := range flags.Args() {
		source, target, found := strings.Cut(argument, "=")
		if !found || !path.IsAbs(target) {
			return s, fmt.Errorf("%q is not of the form FILE=/PATH", argument)
		}
		s.files = append(s.files, file{source, target})
	}
	if s.out == "" || s.name == "" || len(s.files) == 0 {
		flags.Usage()
		return s, errors.New("--out, --name and a FILE=/PATH are needed")
	}
	return s, nil
}

func (s spec) write(out io.Writer) error {
	tag, err := name.NewTag(s.name)
	if err != nil {
		return err
	}
	image, err := s.image()
	if err != nil {
		return err
	}
	if err := writeArchive(s.out, tag, image, s.created); err != nil {
		return err
	}
	if s.report {
		return report(out, s.out, tag, image)
	}
	return nil
}

func (s spec) image() (v1.Image, error) {
	contents, err := s.layer()
	if err != nil {
		return nil, err
	}
	base := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:   contents,
		History: v1.History{Created: v1.Time{Time: s.created}, CreatedBy: "controlplane image"},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture = s.architecture
	config.OS = "linux"
	config.Created = v1.Time{Time: s.created}
	config.Config = v1.Config{
		Entrypoint: []string{s.files[0].target},
		User:       user,
		Labels:     s.labels,
	}
	if !s.bare {
		config.Config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil || len(s.labels) == 0 {
		return image, err
	}
	annotated, ok := mutate.Annotations(image, s.labels).(v1.Image)
	if !ok {
		return nil, errors.New("an annotated image is no image")
	}
	return annotated, nil
}

// report says what the image is, for people.
func report(out io.Writer, archive string, tag name.Tag, image v1.Image) error {
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	var size int64
	for _, layer := range layers {
		compressed, err := layer.Size()
		if err != nil {
			return err
		}
		size += compressed
	}
	fmt.Fprintf(out, "image:  %s\ndigest: %s\npulled: %.1f MiB\narchive: %s\nfiles:\n", reference(tag), digest, mib(size), archive)
	return list(out, image)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
