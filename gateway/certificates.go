package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// certificates is what the gateway shows and trusts, as the files say. Files that
// change count from a later handshake on, without a restart; sessions that are
// in stay.
type certificates struct {
	files   TLSOptions
	log     *zap.Logger
	server  *tls.Config // what listeners use; it asks for current
	current atomic.Pointer[tls.Config]
	expires atomic.Int64 // unix seconds

	mu     sync.Mutex // held while the files are looked at
	looked time.Time
	stamps [3]fileStamp // of what was read last, or tried
}

// fileStamp tells one state of a file from another.
type fileStamp struct {
	modified int64 // ns
	size     int64
	inode    uint64
}

// certificateLook is how often handshakes look whether the files have changed.
const certificateLook = time.Second

// loadCertificates reads the files; nil without a TLS listener.
func loadCertificates(files TLSOptions, log *zap.Logger) (*certificates, error) {
	switch {
	case files.Listen == "" && files == (TLSOptions{}):
		return nil, nil
	case files.Listen == "":
		return nil, fmt.Errorf("gateway: certificate files and no address to use them: add --tls-listen ADDR")
	case files.CertFile == "" || files.KeyFile == "":
		return nil, fmt.Errorf("gateway: TLS on %s needs a certificate and its key: add --tls-cert FILE and --tls-key FILE", files.Listen)
	}
	c := &certificates{files: files, log: log}
	c.server = &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.look(time.Now())
		return c.current.Load(), nil
	}}
	return c, c.reload()
}

// reload reads the files whether they have changed or not.
func (c *certificates) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stamps = c.stamp()
	return c.load()
}

// look reads the files if they have changed. A pair that does not fit, because
// one file is there and the other not yet, changes nothing; the other file's
// change is seen by a later look.
func (c *certificates) look(now time.Time) {
	if !c.mu.TryLock() {
		return // somebody looks
	}
	defer c.mu.Unlock()
	if now.Sub(c.looked) < certificateLook {
		return
	}
	c.looked = now
	stamps := c.stamp()
	if stamps == c.stamps {
		return
	}
	c.stamps = stamps // before reading: what changes meanwhile is another change
	if err := c.load(); err != nil {
		c.log.Error("the TLS certificate stays as it is", zap.Error(err))
		return
	}
	c.log.Info("the TLS certificate is read again", zap.String("file", c.files.CertFile), zap.Time("expires", time.Unix(c.expires.Load(), 0)))
}

// load reads the files and has later handshakes use them. The caller holds mu.
func (c *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("gateway: TLS certificate %s with key %s: %w; give a certificate in PEM and the unencrypted key that belongs to it", c.files.CertFile, c.files.KeyFile, err)
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13, // every client of ours speaks it, and none is older than it
		Certificates: []tls.Certificate{pair},
		// Connections last for hours, so resuming TLS sessions would save nothing;
		// and who reconnects is to be judged by the files as they are then.
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // small first records are for web pages
	}
	if c.files.ClientCAFile != "" {
		pem, err := os.ReadFile(c.files.ClientCAFile)
		if err != nil {
			return fmt.Errorf("gateway: CA of client certificates: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("gateway: CA of client certificates: %s holds no certificate in PEM", c.files.ClientCAFile)
		}
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Error("the TLS certificate has expired and clients will refuse it; replace the file", zap.String("file", c.files.CertFile), zap.Time("expired", pair.Leaf.NotAfter))
	}
	c.expires.Store(pair.Leaf.NotAfter.Unix())
	c.current.Store(config)
	return nil
}

// stamp says in which state the files are. One that cannot be looked at has the
// zero stamp: it is a change when it goes and when it comes.
func (c *certificates) stamp() (stamps [3]fileStamp) {
	for i, path := range []string{c.files.CertFile, c.files.KeyFile, c.files.ClientCAFile} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		stamps[i] = fileStamp{modified: info.ModTime().UnixNano(), size: info.Size()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			stamps[i].inode = st.Ino
		}
	}
	return stamps
}
