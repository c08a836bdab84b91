package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"controlplane/internal/pki"
)

// bodyLimit of an answer to a probe, in bytes.
const bodyLimit = 1 << 20

// Prober asks components over HTTP whether they are ready.
type Prober struct {
	client *http.Client
}

// NewProber trusts the authority in caFile and shows the client certificate. An
// empty caFile is for plain HTTP.
func NewProber(caFile string, client pki.Pair) (Prober, error) {
	// Connections are not kept: the component behind a port is restarted.
	transport := &http.Transport{DisableKeepAlives: true}
	if caFile != "" {
		certificate, err := tls.LoadX509KeyPair(client.CertFile, client.KeyFile)
		if err != nil {
			return Prober{}, err
		}
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return Prober{}, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return Prober{}, fmt.Errorf("%s holds no certificate", caFile)
		}
		transport.TLSClientConfig = &tls.Config{
			RootCAs:      roots,
			Certificates: []tls.Certificate{certificate},
			MinVersion:   tls.VersionTLS12,
		}
	}
	return Prober{&http.Client{Transport: transport}}, nil
}

// Get fails unless the answer has status 200 and contains the text.
func (p Prober) Get(ctx context.Context, url, contains string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Its own name, so that an audit log tells probes from a test's requests.
	request.Header.Set("User-Agent", "controlplane-probe")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	if !strings.Contains(string(body), contains) {
		return fmt.Errorf("%s does not mention %s yet", url, contains)
	}
	return nil
}
