package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tapewire/tapewire/gateway"
	"github.com/tapewire/tapewire/journal"
)

type serveCmd struct {
	Data           string `help:"Where the tapes are kept (default ${default})." placeholder:"DIR" default:"./tapewire-data"`
	Listen         string `help:"Where producers and subscribers connect. Without --keys: loopback only (default ${default})." placeholder:"ADDR" default:"127.0.0.1:13000"`
	TLSListen      string `name:"tls-listen" help:"A second address, for producers and subscribers that speak TLS 1.3." placeholder:"ADDR"`
	TLSCert        string `name:"tls-cert" help:"The certificate for --tls-listen, in PEM, with what it was signed with. When the file is replaced, the next handshakes use the new one." placeholder:"FILE"`
	TLSKey         string `name:"tls-key" help:"Its key, in PEM." placeholder:"FILE"`
	TLSClientCA    string `name:"tls-client-ca" help:"Let in by TLS only who shows a certificate that this authority signed." placeholder:"FILE"`
	Admin          string `help:"Serve health, metrics and the list of sessions over HTTP, e.g. on :9090; loopback unless a host is given. Off by default. With --keys it is for keys with the right admin, without: loopback only." placeholder:"ADDR"`
	Audit          string `help:"Append a line of JSON to FILE for each client that comes, subscribes, publishes, leaves or is turned away." placeholder:"FILE"`
	Keys           string `help:"Key file; without it the gateway is open to everybody on this machine. In a systemd unit with LoadCredential=keys.toml:FILE it is %d/keys.toml." placeholder:"FILE"`
	Sync           string `help:"When records are forced to disk: after a time (1s), a size (64MiB), or each commit (each); default ${default}." placeholder:"POLICY" default:"1s"`
	Retain         string `help:"How long records are kept after they were written: days (7d), a duration (36h), or forever (default ${default})." placeholder:"AGE" default:"7d"`
	RetainDisk     string `name:"retain-disk" help:"When the filesystem is fuller than this the oldest records go earlier, but never those of the last hour; or forever (default ${default})." placeholder:"N%" default:"80%"`
	MaxClockSkew   string `name:"max-clock-skew" help:"A record further than this beyond the clock is kept, counted and named in the log, but no start goes by its time, so that one broken clock does not hide a day; or off (default ${default})." placeholder:"TIME" default:"1h"`
	SendPath       string `help:"How records get from the tape to a socket: auto, write, sendfile, splice, copy (default ${default})." placeholder:"PATH" default:"auto"`
	Loops          int    `help:"Egress loops that divide the live subscribers among them; more than one pays from some hundred subscribers and four cores on (default ${default})." placeholder:"N" default:"1"`
	Spin           bool   `help:"Never let the ingest loop sleep: a few microseconds less from producer to subscriber, for a core that is always busy."`
	MaxConnections int    `help:"Connections at once; by default what the file limit allows." placeholder:"N"`
	LogLevel       string `help:"What is logged on standard error: debug, info, warn or error (default ${default})." placeholder:"LEVEL" enum:"debug,info,warn,error" default:"info"`
	AnyFilesystem  bool   `help:"Run on filesystems other than ext4, XFS and tmpfs, which nobody has tested."`

	log *zap.Logger
	in  inheritance
}

// Help teaches by example.
func (serveCmd) Help() string {
	return `Examples:

  tapewire serve
  tapewire serve --data /var/lib/tapewire --sync each --retain 30d
  tapewire serve --listen 0.0.0.0:13000 --keys keys.toml --admin :9090 --audit audit.jsonl
  tapewire serve --keys keys.toml --tls-listen 0.0.0.0:13443 --tls-cert cert.pem --tls-key key.pem

Clients: databento.Live(key=..., gateway="127.0.0.1", port=13000), or tapewire subscribe.
SIGTERM and SIGINT end it in order: sessions get what they are owed, everything is on disk.
SIGHUP makes it read the key file and the TLS files again and open the audit log anew. Connections whose key is gone
or may no longer do what they do are told so and ended, all others go on; when a file is wrong, what it holds stays as
it is. Without --keys, --tls-listen and --audit SIGHUP, which a lost terminal sends, ends it in order like SIGTERM;
under nohup it goes on.

A listener that a service manager passes on (systemd's socket activation) takes the place of --listen; one named tls, of
--tls-listen. It stays open through a restart: who connects meanwhile waits instead of being refused. docs/systemd.md has
the units.`
}

// maxLoops bounds --loops.
const maxLoops = 16

// shutdownPatience bounds an orderly end. Sessions have a bound of their own (Limits.Drain); this is for what lies beside them.
const shutdownPatience = 30 * time.Second

// Run serves until a signal comes or the gateway fails.
func (s *serveCmd) Run(ctx context.Context, c console) error {
	level, err := zapcore.ParseLevel(s.LogLevel)
	if err != nil {
		return withExit(exitUsage, fmt.Errorf("--log-level: %w", err))
	}
	var held curtain
	log := held.hold(newLogger(c.err, level))
	defer held.raise()
	s.log = log
	log.Info("tapewire starts", zap.String("version", version()), zap.String("data", s.Data))
	cfg, sync, err := s.config(log)
	if err != nil {
		return err
	}
	retain, err := parseRetention(s.Retain, s.RetainDisk)
	if err != nil {
		return err
	}
	skew, err := parseSkew(s.MaxClockSkew)
	if err != nil {
		return err
	}
	j, err := journal.Open(s.Data, journal.Options{Sync: sync, Retain: retain, MaxClockSkew: skew, Logger: log.Named("journal"), AnyFilesystem: s.AnyFilesystem})
	if err != nil {
		return openRemedy(s.Data, err)
	}
	server, err := gateway.New(j, cfg)
	if err != nil {
		err = withExit(exitUsage, err)
	} else {
		err = s.serve(ctx, c.out, server, sync, &held)
	}
	if closeErr := j.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close the journal: %w", closeErr))
	}
	if err == nil {
		fmt.Fprintln(c.out, "stopped; everything that was received is on disk")
	}
	return err
}

// config turns flags into a configuration; what it finds wrong is the user's to mend.
func (s *serveCmd) config(log *zap.Logger) (gateway.Config, journal.SyncPolicy, error) {
	sync, err := journal.ParseSync(s.Sync)
	if err != nil {
		return gateway.Config{}, sync, withExit(exitUsage, err)
	}
	path, err := gateway.ParseSendPath(s.SendPath)
	if err != nil {
		return gateway.Config{}, sync, withExit(exitUsage, err)
	}
	if err := s.inherit(); err != nil {
		return gateway.Config{}, sync, err
	}
	cfg := gateway.Config{Listen: s.Listen, Listener: s.in.live, Audit: s.Audit, SendPath: path, Loops: s.Loops, Spin: s.Spin, Version: version(), Logger: log.Named("gateway"),
		TLS: gateway.TLSOptions{Listen: s.TLSListen, Listener: s.in.tls, CertFile: s.TLSCert, KeyFile: s.TLSKey, ClientCAFile: s.TLSClientCA}}
	if s.Loops < 1 || s.Loops > maxLoops {
		return cfg, sync, usage("--loops is %d; give a number from 1 to %d, at most one for each core", s.Loops, maxLoops)
	}
	if s.MaxConnections < 0 {
		return cfg, sync, usage("--max-connections is %d; give a number above 0", s.MaxConnections)
	}
	if s.MaxConnections > 0 {
		cfg.Limits.Connections = s.MaxConnections
	}
	if s.Keys != "" {
		cfg.Keys, err = gateway.LoadKeys(s.Keys)
	}
	return cfg, sync, err
}

// serve runs the server from its start to its orderly end.
func (s *serveCmd) serve(ctx context.Context, out io.Writer, server *gateway.Server, sync journal.SyncPolicy, held *curtain) error {
	ctx, reload, stop := s.hangups(ctx)
	defer stop()
	admin, err := s.listenAdmin(server)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := server.Start(); err != nil {
		if errors.Is(err, gateway.ErrAddressInUse) {
			err = fmt.Errorf("%w\nanother gateway runs there; stop it, or give this one its own address with --listen and its own --data", err)
		}
		return err
	}
	admin.Serve() // not before, or it would look at a server that is being built
	s.greet(out, server, admin.Addr(), sync)
	held.raise()
	failed := make(chan error, 1)
	go func() { failed <- server.Wait() }()
	for serving := true; serving; {
		select {
		case err = <-failed:
			serving = false
		case <-ctx.Done():
			serving = false
		case <-reload:
			s.reloadTLS(server)
			s.reload(server)
		}
	}
	patience, cancel := context.WithTimeout(context.Background(), shutdownPatience)
	defer cancel()
	return errors.Join(err, server.Shutdown(patience))
}

// hangups says what SIGHUP does: with keys, TLS or an audit log it asks to open their files again, without it ends the gateway in order.
func (s *serveCmd) hangups(ctx context.Context) (context.Context, <-chan os.Signal, func()) {
	if s.Keys == "" && s.TLSListen == "" && s.Audit == "" {
		ctx, stop := hangupEnds(ctx)
		return ctx, nil, stop
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	return ctx, reload, func() { signal.Stop(reload) }
}

// reload opens the audit log anew, so that what follows is in the new file, and reads the key file again.
func (s *serveCmd) reload(server *gateway.Server) {
	if err := server.ReopenAudit(); err != nil {
		s.log.Error("the audit log is not opened anew", zap.String("file", s.Audit), zap.Error(err))
	}
	if s.Keys == "" {
		return
	}
	keys, ended, err := server.ReloadKeys(s.Keys)
	if err != nil {
		s.log.Error("the keys stay as they are", zap.String("file", s.Keys), zap.Error(err))
		return
	}
	s.log.Info("keys are read again", zap.String("file", s.Keys), zap.Int("keys", keys), zap.Int("connections_ended", ended))
}

// greet says in a few lines what the operator must know, above all what an ack is worth.
func (s *serveCmd) greet(out io.Writer, server *gateway.Server, admin net.Addr, sync journal.SyncPolicy) {
	addr := server.Addr()
	access := "open: any key will do, from this machine only"
	if s.Keys != "" {
		access = "keys from " + s.Keys
	}
	fmt.Fprintf(out, "tapewire %s\n", version())
	fmt.Fprintf(out, "data       %s\n", s.Data)
	fmt.Fprintf(out, "access     %s\n", access)
	fmt.Fprintf(out, "sync       %s; ack=written survives kill -9, ack=synced a power cut too\n", syncText(sync))
	if retain, err := parseRetention(s.Retain, s.RetainDisk); err == nil {
		fmt.Fprintf(out, "keeps      %s\n", retentionText(retain))
	}
	fmt.Fprintf(out, "send path  %s\n", s.SendPath)
	if secure := server.TLSAddr(); secure != nil {
		fmt.Fprintf(out, "tls        %s, with the certificate in %s\n", secure, s.TLSCert)
	}
	if in := s.in.String(); in != "" {
		fmt.Fprintf(out, "inherited  %s; who connects during a restart waits for its end\n", in)
	}
	if s.Audit != "" {
		fmt.Fprintf(out, "audit      %s\n", s.Audit)
	}
	if admin != nil {
		fmt.Fprintf(out, "admin      http://%s/metrics, /healthz, /readyz, /sessions\n", admin)
	}
	fmt.Fprintf(out, "try        %s publish%s FILE.dbn.zst\n", programName(), gatewayHint(addr))
	fmt.Fprintf(out, "listening on %s\n", addr)
}

func syncText(p journal.SyncPolicy) string {
	switch {
	case p.Each:
		return "each commit"
	case p.Bytes > 0:
		return "every " + p.String()
	}
	return "within " + p.String()
}

// gatewayHint is the flag that a client needs to find the gateway, "" when the default does.
func gatewayHint(listening net.Addr) string {
	addr := listening.String()
	if tcp, ok := listening.(*net.TCPAddr); ok {
		addr = reachable(tcp)
	}
	if addr == gateway.DefaultListen {
		return ""
	}
	return " --gateway " + addr
}

// openRemedy tells how to get past an error of opening the data directory.
func openRemedy(dir string, err error) error {
	switch {
	case errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("%w\na gateway runs on %s; stop it, or give this one its own directory with --data", err, dir)
	case errors.Is(err, journal.ErrFilesystem):
		return fmt.Errorf("%w\nput --data on ext4, XFS or tmpfs, or pass --any-filesystem if you know that it keeps what was synced", err)
	}
	return err
}

// listenAdmin takes the address of the HTTP side when it was asked for; nil is one that is off.
func (s *serveCmd) listenAdmin(server *gateway.Server) (*gateway.AdminServer, error) {
	if s.Admin == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(s.Admin)
	if err != nil {
		return nil, usage("--admin %q is no address: %w; write HOST:PORT or :PORT", s.Admin, err)
	}
	if host == "" {
		host = "127.0.0.1" // a key travels in clear there: open to others only on demand
	}
	addr := net.JoinHostPort(host, port)
	if err := server.CheckAdmin(addr); err != nil {
		return nil, withExit(exitUsage, fmt.Errorf("--admin: %w", err))
	}
	admin, err := server.ListenAdmin(addr)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	return admin, nil
}
