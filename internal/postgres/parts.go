package postgres

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

//go:embed parts.sql
var partsSQL string

// part is an object of the catalog and what it is made of. Objects that come
// with others have no kind: an array, what an extension brings.
type part struct {
	migrate.Part
	key  string
	uses []string
}

// Parts returns what the tables, and the objects asked for besides, are made of:
// each after what it needs itself. What comes with an extension is told as the
// extension. An object that was asked for and is not there is left out.
func (d *Database) Parts(ctx context.Context, relations []migrate.Relation, also []migrate.Part) ([]migrate.Part, error) {
	var kinds, called []string
	for _, p := range also {
		kinds, called = append(kinds, p.Kind), append(called, p.Name)
	}
	rows, err := d.pool.Query(ctx, partsSQL, schemas(relations), names(relations), kinds, called)
	if err != nil {
		return nil, fmt.Errorf("list what the tables of %s database are made of: %w", d.side, err)
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p part, err error) {
		return p, row.Scan(&p.key, &p.uses, &p.Kind, &p.Name, &p.Schema, &p.Version, &p.Recorded, &p.Definition)
	})
	if err != nil {
		return nil, fmt.Errorf("list what the tables of %s database are made of: %w", d.side, err)
	}
	return inOrder(parts), nil
}

// inOrder puts every part after those that it uses. The catalog has no circles
// but those of base types and their functions, which no statement of ours makes.
func inOrder(parts []part) []migrate.Part {
	index := map[string]int{}
	for i, p := range parts {
		index[p.key] = i
	}
	var ordered []migrate.Part
	seen := map[string]bool{}
	var visit func(key string)
	visit = func(key string) {
		i, ok := index[key]
		if !ok || seen[key] {
			return
		}
		seen[key] = true
		for _, used := range parts[i].uses {
			visit(used)
		}
		if parts[i].Kind != "" {
			ordered = append(ordered, parts[i].Part)
		}
	}
	for _, p := range parts {
		visit(p.key)
	}
	return ordered
}
