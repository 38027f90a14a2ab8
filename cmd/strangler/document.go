package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/documents"
)

func (c *cli) document() *cobra.Command {
	holder := &cobra.Command{Use: "document", Short: "Put documents into Consul, and get them back (with store: consul)",
		Long: `With "store: consul" the documents are in Consul's KV, where every proxy and the
controller find them. They are pushed from files, which stay the place for git.
With "store: files" there is nothing to push: edit the files.`}
	var dry bool
	push := &cobra.Command{
		Use:   "push FILE…",
		Short: "Check the documents together with those that are there, then store them",
		Example: "  strangler document push routes/*.yaml\n" +
			"  strangler document push routes/orders.yaml --dry-run",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misread(cmd, "%s takes FILE…, and FILE is missing", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.push(cmd.Context(), args, dry) },
	}
	push.Flags().BoolVar(&dry, "dry-run", false, "check only")
	return group(holder, push,
		&cobra.Command{Use: "pull DIRECTORY", Short: "Write the documents that are in Consul into files",
			Args: exactly("DIRECTORY"), RunE: func(cmd *cobra.Command, args []string) error { return c.pull(cmd.Context(), args[0]) }},
		&cobra.Command{Use: "list", Short: "List the documents that are in Consul",
			Args: exactly(), RunE: func(cmd *cobra.Command, _ []string) error { return c.documents(cmd.Context()) }},
		&cobra.Command{Use: "remove FILE", Short: "Take a document out of Consul",
			Long: `Takes a document out of Consul. While the move of its capability has begun, the
proxies go on serving its last version, and say so.`,
			Args: exactly("FILE"), RunE: func(cmd *cobra.Command, args []string) error { return c.remove(cmd.Context(), args[0]) }})
}

// inConsul returns the store in Consul, or says why there is none.
func (c *cli) inConsul() (*consul.Store, config.Config, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, settings, err
	}
	if settings.Store != config.StoreConsul {
		return nil, settings, fmt.Errorf("the documents are the files in %s: edit them there, or write `store: consul` in %s", settings.Routes, c.config)
	}
	s, err := newConsulStore(settings, slog.New(slog.DiscardHandler))
	return s, settings, err
}

// push checks everything before it stores anything. Documents are stored one by
// one: a proxy that reads in between finds each of them whole.
func (c *cli) push(ctx context.Context, paths []string, dry bool) error {
	s, settings, err := c.inConsul()
	if err != nil {
		return err
	}
	all, err := s.Contents(ctx)
	if err != nil {
		return err
	}
	pushed := map[string][]byte{}
	for _, path := range paths {
		name := filepath.Base(path)
		if !documents.IsDocument(name) {
			return fmt.Errorf("%s is no document: its name ends in .yaml", path)
		}
		if _, twice := pushed[name]; twice {
			return fmt.Errorf("two of the files are named %s", name)
		}
		if pushed[name], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	maps.Copy(all, pushed)
	if _, problems := newDecode()(settings.Consul.Prefix+"/routes", all); len(problems) > 0 {
		return c.said(problems)
	}
	if dry {
		c.out.line(c.out.green("all is well: ") + count(len(pushed), "document", "documents") + " would be stored")
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(pushed)) {
		if err := s.Put(ctx, name, pushed[name]); err != nil {
			return err
		}
		c.out.line(c.out.green("stored: ") + name)
	}
	return nil
}

// pull writes the documents that are in Consul, and overwrites no file that says
// something else.
func (c *cli) pull(ctx context.Context, dir string) error {
	s, _, err := c.inConsul()
	if err != nil {
		return err
	}
	all, err := s.Contents(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := filepath.Join(dir, name)
		if err := writeNew(path, all[name]); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		c.out.line(c.out.green("written: ") + path)
	}
	return errs
}

func writeNew(path string, content []byte) error {
	there, err := os.ReadFile(path)
	switch {
	case err == nil && string(there) == string(content):
		return nil
	case err == nil:
		return fmt.Errorf("%s differs from the document in Consul: move it away first", path)
	case !os.IsNotExist(err):
		return err
	}
	return os.WriteFile(path, content, 0o600) // it may hold a password
}

func (c *cli) documents(ctx context.Context) error {
	s, _, err := c.inConsul()
	if err != nil {
		return err
	}
	all, err := s.Contents(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(all))
	if c.json {
		return c.out.json(append([]string{}, names...))
	}
	for _, name := range names {
		c.out.line(name)
	}
	return nil
}

func (c *cli) remove(ctx context.Context, name string) error {
	s, _, err := c.inConsul()
	if err != nil {
		return err
	}
	if err := s.Remove(ctx, name); err != nil {
		return err
	}
	c.out.line(c.out.green("removed: ") + name)
	return nil
}
