package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestMake(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	archives := []string{filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")}
	for _, archive := range archives {
		code := Make([]string{"image", "--out", archive, "--name", "localhost/x:test",
			program + "=/usr/bin/one", program + "=/usr/bin/two"})
		if code != 0 {
			t.Fatalf("exit %d", code)
		}
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
	// By number, or the kubelet cannot tell that it is not root.
	if config.Config.User != "65532:65532" {
		t.Errorf("user %q", config.Config.User)
	}
	files := map[string]*tar.Header{}
	contents := tar.NewReader(mutate.Extract(image))
	for {
		header, err := contents.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = header
	}
	one, two := files["usr/bin/one"], files["usr/bin/two"]
	if one == nil || one.Mode != 0o755 || one.Size != 8 {
		t.Errorf("%+v", one)
	}
	if two == nil || two.Typeflag != tar.TypeLink || two.Linkname != "usr/bin/one" {
		t.Errorf("a second path is a second copy: %+v", two)
	}
}

func TestUsage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a.tar")
	for _, args := range [][]string{
		{}, {"--out", out}, {"--out", out, "--name", "x"}, {"--out", out, "--name", "x", "file"},
		{"--out", out, "--name", "x", "file=relative"}, {"--no-such-flag"},
	} {
		if code := Make(append([]string{"image"}, args...)); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	if code := Make([]string{"image", "--out", out, "--name", "x", "/no/such/file=/x"}); code != 1 {
		t.Errorf("a file that is not there: exit %d", code)
	}
}
