package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/config"
	"strangler/internal/postgres"
	"strangler/migrate"
)

// newMover makes a mover of a document, as the configuration bounds it.
func newMover(settings config.Config, doc capability.Document, legacy, extracted *postgres.Database, gates *postgres.Gates, fence uint64, log *slog.Logger) *migrate.Mover {
	if doc.Data.Rate == 0 && settings.Rate > 0 {
		data := *doc.Data // the document is others' as well
		data.Rate = settings.Rate
		doc.Data = &data
	}
	return migrate.NewMover(migrate.Options{Document: doc, Legacy: legacy, Extracted: extracted, Gates: gates, Fence: fence, Restraint: settings.Restraint, Log: log})
}

func (c *cli) dataPlan() *cobra.Command {
	var ddl, create bool
	var observe time.Duration
	command := &cobra.Command{
		Use:   "plan CAPABILITY",
		Short: "Say what moving the tables will do, before anything does",
		Long: `Reads both catalogs and changes nothing. It says what becomes of each table, what
crosses the border of the capability, what is missing in rights and settings, and
what will happen. It fails when something stands against the move, and lists all of
it with the mend of each; docs/data-plan.md tells how to read it.

--ddl prints the statements that make the tables the extracted database lacks, from
the definitions of the legacy ones; --create carries them out.

--observe 5m watches the legacy database for that long instead, and counts the
transactions that write both the capability's tables and others: a cutover would
refuse each of them. It decodes the whole log meanwhile.`,
		Args: exactly("CAPABILITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ddl && create || observe != 0 && (ddl || create) {
				return misread(cmd, "--ddl prints, --create carries out, --observe counts: write one of them")
			}
			return c.withMover(cmd.Context(), args[0], func(mover *migrate.Mover) error {
				switch {
				case observe < 0 || observe > time.Hour:
					return usageError{errors.New("--observe takes a time of up to 1h")}
				case observe > 0:
					return c.observe(cmd.Context(), mover, observe)
				case create:
					return c.createTables(cmd.Context(), mover)
				case ddl:
					return c.printDDL(cmd.Context(), mover)
				}
				return c.printPlan(cmd.Context(), mover)
			})
		},
	}
	command.Flags().BoolVar(&ddl, "ddl", false, "print the statements that make missing target tables")
	command.Flags().BoolVar(&create, "create", false, "make missing target tables")
	command.Flags().DurationVar(&observe, "observe", 0, "count the transactions that write on both sides of the border, for this long")
	return command
}

// withMover reaches a capability's databases without any running process.
func (c *cli) withMover(ctx context.Context, name string, use func(*migrate.Mover) error) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	contents, dir, err := readDocuments(ctx, settings)
	if err != nil {
		return err
	}
	docs, problems := config.Documents(dir, contents)
	for _, doc := range docs {
		if doc.Name == name {
			return c.withDatabases(ctx, settings, doc, use)
		}
	}
	if len(problems) > 0 {
		return c.said(problems)
	}
	return fmt.Errorf("no document in %s names the capability %q", dir, name)
}

func (c *cli) withDatabases(ctx context.Context, settings config.Config, doc capability.Document, use func(*migrate.Mover) error) error {
	if doc.Data == nil {
		return fmt.Errorf("%s has no data section in %s: only its traffic moves; add one to move its tables", doc.Name, doc.File)
	}
	if doc.Data.State == capability.DataRetired {
		return fmt.Errorf("%s is retired: extracted owns its tables for good, and nothing moves any more", doc.Name)
	}
	if settings.Legacy.Database == "" {
		return fmt.Errorf("legacy.database is not set in %s, so no data can move", settings.File)
	}
	legacy, err := postgres.Open(ctx, capability.Legacy, settings.Legacy.Database)
	if err != nil {
		return err
	}
	defer legacy.Close()
	extracted, err := postgres.Open(ctx, capability.Extracted, doc.Data.Database)
	if err != nil {
		return err
	}
	defer extracted.Close()
	defer c.tellWaits(ctx, legacy, extracted)()
	return use(newMover(settings, doc, legacy, extracted, postgres.NewGates(doc.Name, legacy, extracted), 0, slog.New(slog.DiscardHandler)))
}

// waitsEvery is how often it is asked whom a command waits for.
const waitsEvery = 2 * time.Second

// tellWaits says whom questions to the databases wait for, each once, until the
// returned function is called.
func (c *cli) tellWaits(ctx context.Context, databases ...*postgres.Database) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	told := map[string]bool{}
	telling.Go(func() {
		tick := time.NewTicker(waitsEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, d := range databases {
				blockers, _ := d.Blockers(ctx) // a database that does not answer is the command's to tell
				for _, who := range blockers {
					session, _, _ := strings.Cut(who, " (") // what it has, and for how long, changes
					if session = string(d.Side()) + " " + session; !told[session] {
						told[session] = true
						c.errs.line(fmt.Sprintf("waiting in the %s database for %s", d.Side(), who))
					}
				}
			}
		}
	})
	return func() {
		cancel()
		telling.Wait()
	}
}

func (c *cli) observe(ctx context.Context, mover *migrate.Mover, period time.Duration) error {
	if !c.json {
		c.errs.line("watching for " + period.String())
	}
	o, err := mover.Observe(ctx, period)
	if err != nil {
		return err
	}
	if c.json {
		return c.out.json(o)
	}
	c.out.line(fmt.Sprintf("%d transactions wrote; %d of them wrote tables of %s, and %d of these others as well", o.Transactions, o.Inside, mover.Document.Name, o.Crossing))
	if len(o.Pairs) > 0 {
		rows := [][]string{{"  INSIDE", "OUTSIDE", "TRANSACTIONS"}}
		for _, p := range o.Pairs {
			rows = append(rows, []string{"  " + p.Inside, p.Outside, fmt.Sprint(p.Transactions)})
		}
		c.out.table(rows)
		c.paragraph("", "each of these transactions would be refused whole after a cutover: split them first")
	}
	return nil
}

func (c *cli) createTables(ctx context.Context, mover *migrate.Mover) error {
	ddl, err := mover.Create(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.out.json(ddl)
	}
	c.ddlLines(ddl)
	c.out.line(c.out.green("done: ") + "every table is there")
	return nil
}

func (c *cli) printDDL(ctx context.Context, mover *migrate.Mover) error {
	ddl, err := mover.DDL(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.out.json(ddl)
	}
	c.ddlLines(ddl)
	if len(ddl.Statements) == 0 {
		c.errs.line("no table is missing")
	}
	return nil
}

// ddlLines prints a script for psql: what it leaves out is said in its comments.
func (c *cli) ddlLines(ddl migrate.DDL) {
	for _, o := range ddl.Omitted {
		c.out.line("-- left out: " + strings.ReplaceAll(o, "\n", " "))
	}
	for _, s := range ddl.Statements {
		c.out.line(s + ";")
	}
}
