// Package testcert makes certificates for tests: authorities that sign, and what
// they sign, in memory and as files. It is for tests alone.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Failer is the part of a test that is needed: it ends it.
type Failer interface {
	Fatalf(format string, args ...any)
}

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Wish says what a certificate shall be. The zero value is one for 127.0.0.1
// that is good for an hour, for servers and clients.
type Wish struct {
	Name     string // instead of 127.0.0.1
	NotAfter time.Time
}

// NewAuthority makes an authority that nobody trusts yet.
func NewAuthority(t Failer) *Authority {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{}
	der, key := a.sign(t, template)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("parse the authority's certificate: %v", err)
	}
	a.key = key
	return a
}

// Pool is what trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue signs a certificate.
func (a *Authority) Issue(t Failer, wish Wish) tls.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test"}, NotAfter: wish.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if wish.Name != "" {
		template.DNSNames = []string{wish.Name}
	} else {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, key := a.sign(t, template)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// sign completes a template and signs it: by itself while there is no authority.
func (a *Authority) sign(t Failer, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatalf("make a serial number: %v", err)
	}
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatalf("sign a certificate: %v", err)
	}
	return der, key
}

// WriteCA writes the authority's certificate into dir and returns its path.
func (a *Authority) WriteCA(t Failer, dir, name string) string {
	return write(t, filepath.Join(dir, name), "CERTIFICATE", a.cert.Raw)
}

// Write writes a certificate and its key as NAME.pem and NAME-key.pem into dir.
func Write(t Failer, dir, name string, pair tls.Certificate) (certFile, keyFile string) {
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatalf("encode a key: %v", err)
	}
	certFile = write(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", pair.Certificate[0])
	return certFile, write(t, filepath.Join(dir, name+"-key.pem"), "PRIVATE KEY", key)
}

func write(t Failer, path, kind string, der []byte) string {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	return path
}
