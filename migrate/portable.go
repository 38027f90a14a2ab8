package migrate

import (
	"slices"
	"strings"
)

// untransferable are types whose values mean something only in the database that
// they come from: numbers of its objects, rows and transactions, and its roles.
var untransferable = []string{"oid", "regclass", "regproc", "regprocedure", "regoper", "regoperator", "regtype", "regrole", "regnamespace", "regconfig", "regdictionary", "regcollation",
	"xid", "xid8", "cid", "tid", "lo", "public.lo", "aclitem"}

// unwritable are types whose values nobody but the server itself can make.
var unwritable = []string{"gtsvector", "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"}

// portable refuses columns whose values cannot be taken to another database,
// however deep in domains, arrays, rows and ranges they are, and keys by which no
// row can be found.
func (t *trial) portable() {
	for _, name := range t.Legacy.Key {
		t.refuse(slices.Contains(t.here.Unequal, name), "give it the type behind the domain: ALTER TABLE "+t.Legacy.SQL()+" ALTER "+sqlName(name)+" TYPE …",
			"key column %s is of a domain over an enum, whose values PostgreSQL cannot compare", name)
	}
	for _, c := range t.Columns {
		column, _ := t.Legacy.Column(c.Legacy)
		of := strings.TrimSuffix(column.Type, "[]")
		for _, typ := range append([]string{of}, t.here.Holds[c.Legacy]...) {
			what := "is of type " + typ
			if typ != of {
				what = "is of type " + column.Type + ", which holds values of type " + typ
			}
			meaningless, made := slices.Contains(untransferable, typ), slices.Contains(unwritable, typ)
			t.refuse(meaningless, "leave the table out, or keep the value in a column of another type: large objects as bytea, names as text",
				"column %s %s, whose values mean nothing in another database", c.Legacy, what)
			t.refuse(made, "leave the table out, or drop the column", "column %s %s, whose values cannot be written from outside of the server", c.Legacy, what)
			if meaningless || made {
				break
			}
		}
	}
}
