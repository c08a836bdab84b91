package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func TestIssuedCertificateVerifiesForItsHosts(t *testing.T) {
	authority, err := NewAuthority(t.TempDir(), "test-ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("server", Identity{
		CommonName: "server",
		Groups:     []string{"servers"},
		Hosts:      []string{"127.0.0.1", "etcd-0.etcd.db.svc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(authority.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's certificate is not PEM")
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "etcd-0.etcd.db.svc": true, "10.0.0.1": false} {
		_, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		if (err == nil) != want {
			t.Errorf("verification for %s: %v, want success: %t", host, err, want)
		}
	}
	_, err = loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Errorf("not good for a client: %v", err)
	}
}

func TestPrivateKeysAreReadableByTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	authority, err := NewAuthority(dir, "test-ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("admin", Identity{CommonName: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := KeyPair(dir, "service-account")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{authority.KeyFile, pair.KeyFile, private} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o", file, mode)
		}
	}
}
