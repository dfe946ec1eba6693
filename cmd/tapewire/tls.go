package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/gateway"
)

// tlsFlags are how the commands that connect speak TLS. A file that is given means TLS, too.
type tlsFlags struct {
	TLS     bool   `name:"tls" help:"Connect by TLS, to the gateway's --tls-listen address."`
	TLSCA   string `name:"tls-ca" help:"Trust the authority in this file, in PEM, instead of the machine's own." placeholder:"FILE"`
	TLSCert string `name:"tls-cert" help:"The client certificate that the gateway asks for, in PEM." placeholder:"FILE"`
	TLSKey  string `name:"tls-key" help:"Its key, in PEM." placeholder:"FILE"`
}

// tlsScheme before an address means TLS, so that TAPEWIRE_GATEWAY can say it.
const tlsScheme = "tls://"

// tlsConfig is nil for plain TCP.
func (g gatewayFlag) tlsConfig() (*tls.Config, error) {
	if g.tlsFlags == (tlsFlags{}) && !strings.HasPrefix(g.Gateway, tlsScheme) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if g.TLSCA != "" {
		pem, err := os.ReadFile(g.TLSCA)
		if err != nil {
			return nil, usage("--tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("--tls-ca: %s holds no certificate in PEM", g.TLSCA)
		}
	}
	if (g.TLSCert == "") != (g.TLSKey == "") {
		return nil, usage("a client certificate and its key go together: give both --tls-cert FILE and --tls-key FILE")
	}
	if g.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(g.TLSCert, g.TLSKey)
		if err != nil {
			return nil, usage("--tls-cert %s with --tls-key %s: %w", g.TLSCert, g.TLSKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// reloadTLS reads the TLS files again. Those that are wrong change nothing.
func (s *serveCmd) reloadTLS(server *gateway.Server) {
	if s.TLSListen == "" {
		return
	}
	if err := server.ReloadTLS(); err != nil {
		s.log.Error("the TLS certificate stays as it is", zap.Error(err))
		return
	}
	s.log.Info("the TLS certificate is read again", zap.String("file", s.TLSCert))
}
