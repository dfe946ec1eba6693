package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// check compares what both bots received with the tapes, from the first record to where the tapes end now. It gives the text of a passed check, or
// an error that says what differs; "" without an error when the demo ended meanwhile.
func (s *show) check(ctx context.Context) (string, error) {
	dataset := s.journal.Lookup(s.source.metadata().Dataset)
	if dataset == nil {
		return "", fmt.Errorf("check: nothing was recorded yet; give it more time with --duration")
	}
	bots := []*bot{s.live, s.late}
	goals := setGoals(dataset, s.source.schemas(), bots)
	if len(goals) == 0 {
		return "", fmt.Errorf("check: nothing was recorded yet; give it more time with --duration")
	}
	patience := time.After(checkPatience)
	for _, b := range bots {
		select {
		case <-b.complete:
		case <-ctx.Done():
			return "", nil
		case <-patience:
			return "", fmt.Errorf("check FAILED: after %v %s still lacks records of the tapes", checkPatience, b.name)
		}
	}
	var lines []string
	for _, schema := range s.source.schemas() {
		if goals[schema] == 0 {
			continue
		}
		sum, err := tapeDigest(ctx, dataset.Tape(schema), goals[schema])
		if ctx.Err() != nil {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("check: %w", err)
		}
		for _, b := range bots {
			b.mu.Lock()
			got := b.tapes[schema].sum
			b.mu.Unlock()
			if !bytes.Equal(got, sum) {
				return "", fmt.Errorf("check FAILED: the first %d %s records of %s are not those of the tape: sha256 %x, tape %x", goals[schema], schema, b.name, got, sum)
			}
		}
		lines = append(lines, fmt.Sprintf("  %-10s %s records, sha256 %x...", schema, grouped(goals[schema]), sum[:8]))
	}
	return "\ncheck passed: the live bot, the late bot and the tape hold the same bytes\n" + strings.Join(lines, "\n"), nil
}

// setGoals makes each bot take its digests where the tapes end now. No bot can be beyond that: it receives what is committed, and it does not move
// while the tails are read.
func setGoals(dataset *journal.Dataset, schemas []feed.Schema, bots []*bot) map[feed.Schema]uint64 {
	goals := map[feed.Schema]uint64{}
	for _, b := range bots {
		b.mu.Lock()
		defer b.mu.Unlock()
	}
	for _, schema := range schemas {
		tape := dataset.Tape(schema)
		if tape == nil || tape.Tail() == 0 {
			continue // a file's records of this schema come later
		}
		goals[schema] = tape.Tail()
	}
	for _, b := range bots {
		b.setGoals(goals)
	}
	return goals
}

// tapeDigest reads the tape's first n records as they lie in its files.
func tapeDigest(ctx context.Context, t *journal.Tape, n uint64) ([]byte, error) {
	const chunk = 1 << 20 // bytes
	digest, buf := sha256.New(), make([]byte, chunk)
	size := uint64(t.RecordSize())
	for seq := uint64(0); seq < n; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		segment, err := t.Segment(seq)
		if err != nil {
			return nil, err
		}
		end := min(n, segment.Limit(), seq+chunk/size)
		b := buf[:(end-seq)*size]
		_, err = segment.ReadAt(b, segment.Offset(seq))
		segment.Release()
		if err != nil {
			return nil, err
		}
		digest.Write(b)
		seq = end
	}
	return digest.Sum(nil), nil
}
