package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func program(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func made(t *testing.T, args ...string) {
	t.Helper()
	if code := Make(append([]string{"image"}, args...)); code != 0 {
		t.Fatalf("exit %d", code)
	}
}

// entries of a tar archive with their contents.
func entries(t *testing.T, from io.Reader) (headers map[string]*tar.Header, contents map[string][]byte) {
	t.Helper()
	headers, contents = map[string]*tar.Header{}, map[string][]byte{}
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		headers[header.Name] = header
		if contents[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMake(t *testing.T) {
	dir := t.TempDir()
	program := program(t, dir)
	archives := []string{filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")}
	for _, archive := range archives {
		made(t, "--out", archive, "--name", "localhost/x:test", program+"=/usr/bin/one", program+"=/usr/bin/two")
	}
	first, err := os.ReadFile(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(archives[1]); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same contents make another image (%v)", err)
	}

	image, err := tarball.ImageFromPath(archives[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if entry := config.Config.Entrypoint; len(entry) != 1 || entry[0] != "/usr/bin/one" {
		t.Errorf("entry point %v", entry)
	}
	if config.Config.User != "65532:65532" {
		t.Errorf("user %q", config.Config.User)
	}
	files, _ := entries(t, mutate.Extract(image))
	one, two := files["usr/bin/one"], files["usr/bin/two"]
	if one == nil || one.Mode != 0o755 || one.Size != 8 {
		t.Errorf("%+v", one)
	}
	if two == nil || two.Typeflag != tar.TypeLink || two.Linkname != "usr/bin/one" {
		t.Errorf("a second path is a second copy: %+v", two)
	}
	if files["tmp/"] == nil && files["tmp"] == nil {
		t.Errorf("no /tmp: %v", files)
	}
}

// What is in the archive as an OCI layout, as registries and containerd see it.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "a.tar")
	made(t, "--out", archive, "--name", "thing:1.2", "--architecture", "arm64", "--created", "86400", "--bare",
		"--label", "org.opencontainers.image.title=thing", "--label", "empty=", program(t, dir)+"=/one")

	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	headers, contents := entries(t, file)
	for name, content := range contents {
		if at := headers[name].ModTime.Unix(); at != 86400 {
			t.Errorf("%s is of %d", name, at)
		}
		target := filepath.Join(dir, "layout", name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := index.IndexManifest()
	if err != nil || len(manifests.Manifests) != 1 {
		t.Fatalf("%v %v", manifests, err)
	}
	descriptor := manifests.Manifests[0]
	if name := descriptor.Annotations["io.containerd.image.name"]; name != "docker.io/library/thing:1.2" {
		t.Errorf("containerd would call it %q", name)
	}
	image, err := index.Image(descriptor.Digest)
	if err != nil {
		t.Fatal(err)
	}
	looksAsAsked(t, image)
	files, _ := entries(t, mutate.Extract(image))
	if len(files) != 1 || files["one"] == nil {
		t.Errorf("files besides the one: %v", files)
	}
}

func looksAsAsked(t *testing.T, image v1.Image) {
	t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string]map[string]string{"labels": config.Config.Labels, "annotations": manifest.Annotations} {
		if labels["org.opencontainers.image.title"] != "thing" || len(labels) != 2 {
			t.Errorf("%s: %v", name, labels)
		}
	}
	if config.Architecture != "arm64" || config.OS != "linux" || config.Created.Unix() != 86400 || len(config.Config.Env) != 0 {
		t.Errorf("%+v", config)
	}
	if manifest.MediaType != "application/vnd.oci.image.manifest.v1+json" ||
		manifest.Config.MediaType != "application/vnd.oci.image.config.v1+json" ||
		manifest.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar+gzip" {
		t.Errorf("not of OCI's types: %+v", manifest)
	}
}

func TestReference(t *testing.T) {
	for given, wanted := range map[string]string{
		"localhost/x:test":       "localhost/x:test",
		"xyz:1":                  "docker.io/library/xyz:1",
		"someone/x:1":            "docker.io/someone/x:1",
		"ghcr.io/ahrtr/x:v0.1.0": "ghcr.io/ahrtr/x:v0.1.0",
	} {
		if tag, err := name.NewTag(given); err != nil || reference(tag) != wanted {
			t.Errorf("%s: %s (%v)", given, reference(tag), err)
		}
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	s, err := parse([]string{"image", "--out", filepath.Join(dir, "a.tar"), "--name", "thing:1.2", "--bare", "--report", program(t, dir) + "=/one"})
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := s.write(&said); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{"docker.io/library/thing:1.2\n", "digest: sha256:", "-rwxr-xr-x 0:0         8 /one\n"} {
		if !strings.Contains(said.String(), wanted) {
			t.Errorf("%q is not in:\n%s", wanted, said.String())
		}
	}
}

func TestUsage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a.tar")
	for _, args := range [][]string{
		{}, {"--out", out}, {"--out", out, "--name", "x"}, {"--out", out, "--name", "x", "file"},
		{"--out", out, "--name", "x", "file=relative"}, {"--no-such-flag"},
		{"--out", out, "--name", "x", "--label", "=value", "file=/x"},
	} {
		if code := Make(append([]string{"image"}, args...)); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	if code := Make([]string{"image", "--out", out, "--name", "x", "/no/such/file=/x"}); code != 1 {
		t.Errorf("a file that is not there: exit %d", code)
	}
}
