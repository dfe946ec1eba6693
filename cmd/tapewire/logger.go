package main

import (
	"io"
	"slices"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tapewire/tapewire/feed/lsg"
)

// newLogger writes structured lines: JSON for machines, columns for a person at a terminal.
func newLogger(w io.Writer, level zapcore.Level) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if isTerminal(w) {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(lsg.PrintableWriter{To: w})), level))
}

// curtain keeps a log's harmless lines back until it is raised, so that the first thing an operator reads is what the gateway has to say. Warnings
// and errors pass at once.
type curtain struct {
	mu     sync.Mutex
	raised bool
	held   []func() error
}

// curtainMost bounds the lines that are kept back; more come at once.
const curtainMost = 1000

// hold puts the curtain before a logger.
func (c *curtain) hold(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return curtainCore{core, c} }))
}

// raise writes what was kept back; from then on lines pass.
func (c *curtain) raise() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, write := range c.held {
		write() // a log that cannot be written has nobody to tell
	}
	c.held, c.raised = nil, true
}

// curtainCore is a log's core behind a curtain.
type curtainCore struct {
	zapcore.Core
	curtain *curtain
}

// With keeps the curtain before the core that has the fields.
func (c curtainCore) With(fields []zapcore.Field) zapcore.Core {
	return curtainCore{c.Core.With(fields), c.curtain}
}

// Check is that of the core, for lines to come through here.
func (c curtainCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write keeps a line back, or passes it on.
func (c curtainCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.curtain.mu.Lock()
	defer c.curtain.mu.Unlock()
	if c.curtain.raised || e.Level >= zapcore.WarnLevel || len(c.curtain.held) >= curtainMost {
		return c.Core.Write(e, fields)
	}
	fields = slices.Clone(fields) // the caller's own
	c.curtain.held = append(c.curtain.held, func() error { return c.Core.Write(e, fields) })
	return nil
}
