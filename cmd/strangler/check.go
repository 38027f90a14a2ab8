package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/postgres"
)

func (c *cli) check() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Validate every file, then every upstream and database; list all problems at once",
		Long: `Reads config.yaml, every document and the files that they name, then asks every
upstream and database whether it is there and lets a move happen. Changes nothing,
and needs no strangler that runs. Each problem is a line with file, line, key and
mend; the exit status is 1 if there is any.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			problems, summary := c.everything(cmd.Context())
			if settings, _ := config.Load(c.config); settings.Routes != "" {
				c.warn(descriptors(settings)) // the process that serves may have another limit
				c.warn(orphanWarnings(cmd.Context(), settings))
			}
			if c.json {
				if problems == nil {
					problems = []capability.Problem{}
				}
				if err := c.out.json(problems); err != nil {
					return err
				}
			} else {
				for _, p := range problems {
					c.out.line(p.String())
				}
			}
			if len(problems) > 0 {
				return errors.New(count(len(problems), "problem", "problems"))
			}
			if !c.json {
				c.out.line(c.out.green("all is well: ") + summary)
			}
			return nil
		},
	}
}

// everything finds all problems: a file that cannot be read does not hide what is
// wrong with the others.
func (c *cli) everything(ctx context.Context) ([]capability.Problem, string) {
	settings, problems := config.Load(c.config)
	if settings.Routes == "" {
		return problems, ""
	}
	contents, dir, err := readDocuments(ctx, settings)
	if err != nil {
		problems = append(problems, unread(settings, err, capability.Problem{File: settings.Routes, Mend: "make the directory, or name another as `routes` in " + settings.File}))
		return append(problems, c.outside(ctx, settings, nil)...), ""
	}
	docs, wrong := newDecode()(dir, contents)
	problems = append(problems, wrong...)
	problems = append(problems, config.NamedFiles(c.config, dir, contents)...)
	gone, err := goneDocuments(ctx, settings)
	if err != nil {
		gone = []capability.Problem{unread(settings, err, capability.Problem{File: settings.State, Mend: "check as the user that strangler runs as, or let this one read the directory of the state"})}
	}
	problems = append(problems, gone...)
	problems = append(problems, c.outside(ctx, settings, docs)...)
	return problems, count(len(docs), "capability", "capabilities")
}

// unread is the problem of a store that was not read: what is given where it is in
// files.
func unread(settings config.Config, err error, p capability.Problem) capability.Problem {
	if settings.Store == config.StoreConsul {
		p = capability.Problem{File: settings.File, Path: "consul", Mend: consul.Mend(err)}
	}
	p.Message = err.Error()
	return p
}

// goneDocuments lists the documents of begun moves that are not there.
func goneDocuments(ctx context.Context, settings config.Config) ([]capability.Problem, error) {
	s, err := newStore(settings, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return s.Gone(ctx)
}

// outside asks every upstream and database that the documents name.
func (c *cli) outside(ctx context.Context, settings config.Config, docs []capability.Document) []capability.Problem {
	problems := upstreamProblems(ctx, settings.File, "legacy.endpoints", settings.Legacy.Upstream)
	var legacy *postgres.Database
	if settings.Legacy.Database != "" {
		var err error
		if legacy, err = postgres.Open(ctx, capability.Legacy, settings.Legacy.Database); err != nil {
			problems = append(problems, capability.Problem{File: settings.File, Path: "legacy.database", Message: err.Error(), Mend: "start the database, or correct the connection string"})
		} else {
			defer legacy.Close()
		}
	}
	for _, doc := range docs {
		problems = append(problems, upstreamProblems(ctx, doc.File, "extracted.endpoints", doc.Extracted)...)
		if doc.Data != nil && doc.Data.State != capability.DataRetired {
			problems = append(problems, dataProblems(ctx, settings, doc, legacy)...)
		}
	}
	return problems
}

func upstreamProblems(ctx context.Context, file, path string, up capability.Upstream) []capability.Problem {
	var problems []capability.Problem
	for _, e := range up.Endpoints {
		if err := dial(ctx, e); err != nil {
			problems = append(problems, capability.Problem{File: file, Path: path, Value: e, Message: "nobody answers: " + err.Error(), Mend: "start it, or correct the address"})
		}
	}
	return problems
}

// dataProblems asks the preflight of a capability's move.
func dataProblems(ctx context.Context, settings config.Config, doc capability.Document, legacy *postgres.Database) []capability.Problem {
	if settings.Legacy.Database == "" {
		return []capability.Problem{{File: doc.File, Path: "data", Message: "legacy.database is not set in " + settings.File + ", so no data can move", Mend: "set legacy.database, or leave data: out"}}
	}
	extracted, err := postgres.Open(ctx, capability.Extracted, doc.Data.Database)
	if err != nil {
		return []capability.Problem{{File: doc.File, Path: "data.database", Message: err.Error(), Mend: "start the database, or correct the connection string"}}
	}
	defer extracted.Close()
	if legacy == nil {
		return nil // said already, by its own line
	}
	mover := newMover(settings, doc, legacy, extracted, postgres.NewGates(doc.Name, legacy, extracted), 0, slog.New(slog.DiscardHandler))
	_, problems, err := mover.Plan(ctx)
	if err != nil {
		problems = append(problems, capability.Problem{File: doc.File, Path: "data", Message: err.Error(), Mend: "see: strangler data plan " + doc.Name})
	}
	return problems
}
