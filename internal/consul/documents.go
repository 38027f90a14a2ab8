package consul

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"strangler/internal/documents"
)

// Load reads the documents. While one is broken, or gone although the move of its
// capability has begun, its last good version is among them, and its problems are
// returned; so documents and problems may both be there. Where one change spoils
// another document, as a table claimed twice, the change waits and the rest goes
// on. While Consul does not answer, the last good versions of all are returned with
// one problem that says so; while it answers for documents alone, none is believed to
// be gone. An error means that there is nothing to serve: Consul has not answered,
// and nothing is on disk.
func (s *Store) Load(ctx context.Context) ([]capability.Document, []capability.Problem, error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer s.leave()
	s.recallStates()
	s.recallDocuments()
	answers := s.poll(ctx, routes, effective)
	states, err := s.states(ctx, answers[effective])
	if err != nil {
		return nil, nil, fmt.Errorf("load documents: %w", err)
	}
	if err := answers[routes].err; err != nil {
		return s.unanswered(ctx, err)
	}
	s.answered(routes)
	current := contentsOf(answers[routes].pairs)
	kept, astray, emptiness := s.away(current, documents.Begun(states))
	silent := s.silences(effective, "states are used")
	s.unsure.Store(!s.last.emptied.IsZero() || len(silent) > 0)
	served := s.folder.Serve(current, s.last.documents, kept)
	s.keepDocuments(served.Contents)
	return served.Documents, slices.Concat(silent, astray, emptiness, s.heldStates(), served.Problems), nil
}

// unanswered is what Load returns while Consul does not answer for documents.
func (s *Store) unanswered(ctx context.Context, err error) ([]capability.Document, []capability.Problem, error) {
	if ctx.Err() != nil || s.last.documents == nil {
		return nil, nil, fmt.Errorf("load documents: %w", err)
	}
	s.fellSilent(routes, err)
	last, problems := s.folder.Decode(s.folder.Dir, s.last.documents)
	return last, append(s.silences(routes, "documents are served"), problems...), nil
}

// silences is the problem of a folder that has no answer, if it has none.
func (s *Store) silences(dir, what string) []capability.Problem {
	silent, known := s.last.silent[dir]
	if !known {
		return nil
	}
	return []capability.Problem{{
		File:    s.key(dir),
		Message: "consul does not answer since " + silent.since.UTC().Format(time.RFC3339) + "; the last good " + what + ": " + silent.err.Error(),
		Mend:    Mend(silent.err),
	}}
}

// Contents returns the documents as they are now, good or not, by file name.
func (s *Store) Contents(ctx context.Context) (map[string][]byte, error) {
	pairs, err := s.list(ctx, routes, true)
	if err != nil {
		return nil, err
	}
	return contentsOf(pairs), nil
}

// Put stores a document, whatever was there before. Whether it is good shows when
// it is loaded.
func (s *Store) Put(ctx context.Context, file string, content []byte) error {
	if !isDocument(file) {
		return fmt.Errorf("%q cannot be the name of a document; it ends in .yaml", file)
	}
	if len(content) > largest {
		return fmt.Errorf("put %s: %d bytes are %w", file, len(content), ErrTooLarge)
	}
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	if _, err := s.client.KV().Put(&api.KVPair{Key: s.key(routes, file), Value: content}, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("put %s into consul: %w", file, err)
	}
	return nil
}

// Remove takes a document out, and returns ErrUnknown where it is not there. While
// the move of its capability has begun, the proxies serve its last version all the
// same, and report it.
func (s *Store) Remove(ctx context.Context, file string) error {
	if !isDocument(file) {
		return fmt.Errorf("remove %q: %w", file, ErrUnknown)
	}
	pair, err := s.get(ctx, s.key(routes, file))
	if err != nil {
		return fmt.Errorf("remove %s: %w", file, err)
	}
	if pair.ModifyIndex == 0 {
		return fmt.Errorf("remove %s: %w", file, ErrUnknown)
	}
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	removed, _, err := s.client.KV().DeleteCAS(pair, (&api.WriteOptions{}).WithContext(ctx))
	if err == nil && !removed {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("remove %s from consul: %w", file, err)
	}
	return nil
}

func contentsOf(pairs map[string]*api.KVPair) map[string][]byte {
	contents := map[string][]byte{}
	for file, pair := range pairs {
		if isDocument(file) {
			contents[file] = pair.Value
		}
	}
	return contents
}

// isDocument leaves out what people keep beside documents.
func isDocument(name string) bool { return documents.IsDocument(name) && keyName(name) == nil }
