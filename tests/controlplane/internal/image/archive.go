package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is the one layer of an image.
func (s spec) layer() (v1.Layer, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	if !s.bare {
		// What a program without a distribution around it may write to.
		if err := archive.WriteHeader(&tar.Header{
			Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, ModTime: s.created,
		}); err != nil {
			return nil, err
		}
	}
	// A file that goes to several paths is stored once.
	stored := map[string]string{}
	for _, f := range s.files {
		target := strings.TrimPrefix(f.target, "/")
		if first, again := stored[f.source]; again {
			if err := archive.WriteHeader(&tar.Header{
				Typeflag: tar.TypeLink, Name: target, Linkname: first, Mode: 0o755, ModTime: s.created,
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
		if err := add(archive, target, 0o755, contents, s.created); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
}

func add(archive *tar.Writer, name string, mode int64, contents []byte, at time.Time) error {
	err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(contents)), Mode: mode, ModTime: at})
	if err != nil {
		return err
	}
	_, err = archive.Write(contents)
	return err
}

// writeArchive writes an OCI image layout, which keeps manifest and digest as a
// registry will show them, with the manifest.json that "docker load" asks for.
func writeArchive(path string, tag name.Tag, image v1.Image, at time.Time) (err error) {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	parsed, err := image.Manifest()
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType: types.OCIManifestSchema1,
			Size:      int64(len(manifest)),
			Digest:    digest,
			Annotations: map[string]string{
				"io.containerd.image.name":          reference(tag),
				"org.opencontainers.image.ref.name": tag.TagStr(),
			},
		}},
	})
	if err != nil {
		return err
	}
	forDocker := tarball.Descriptor{Config: blob(parsed.Config.Digest), RepoTags: []string{reference(tag)}}
	for _, layer := range parsed.Layers {
		forDocker.Layers = append(forDocker.Layers, blob(layer.Digest))
	}
	dockerManifest, err := json.Marshal(tarball.Manifest{forDocker})
	if err != nil {
		return err
	}

	// Under another name until it is whole: somebody may be reading the one that is there.
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err == nil {
			err = os.Rename(file.Name(), path)
		}
	}()
	archive := tar.NewWriter(file)
	for _, entry := range []struct {
		name     string
		contents []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{"manifest.json", dockerManifest},
		{blob(digest), manifest},
		{blob(parsed.Config.Digest), config},
	} {
		if err := add(archive, entry.name, 0o644, entry.contents, at); err != nil {
			return err
		}
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := addLayer(archive, layer, at); err != nil {
			return err
		}
	}
	return archive.Close()
}

func addLayer(archive *tar.Writer, layer v1.Layer, at time.Time) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	contents, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer contents.Close()
	read, err := io.ReadAll(contents)
	if err != nil {
		return err
	}
	return add(archive, blob(digest), 0o644, read, at)
}

// blob is where a layout keeps what has this digest.
func blob(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// reference is the name as container runtimes complete it. For them, and not for
// the library, localhost is a registry.
func reference(tag name.Tag) string {
	if full := tag.String(); strings.HasPrefix(full, "localhost/") {
		return full
	}
	return strings.Replace(tag.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}

// list prints the files of an image.
func list(out io.Writer, image v1.Image) error {
	extracted := mutate.Extract(image)
	defer extracted.Close()
	contents := tar.NewReader(extracted)
	for {
		header, err := contents.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s %d:%d %9d /%s\n", header.FileInfo().Mode(), header.Uid, header.Gid, header.Size, header.Name)
	}
}
