package postgres

import (
	"context"

	"strangler/migrate"
)

// omissions names what the tables have and the statements do not make.
func (f *definer) omissions(ctx context.Context) error {
	return f.each(ctx, `SELECT w.schema, w.name, o.kind, o.names FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i)
		CROSS JOIN LATERAL (SELECT format('%I.%I', w.schema, w.name)::regclass::oid AS oid) t JOIN pg_class c ON c.oid = t.oid
		CROSS JOIN LATERAL (
			SELECT 1 AS rank, 'triggers' AS kind, string_agg(quote_ident(tgname), ', ' ORDER BY tgname) AS names FROM pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal
			UNION ALL SELECT 2, 'rules', string_agg(quote_ident(rulename), ', ' ORDER BY rulename) FROM pg_rewrite WHERE ev_class = t.oid AND c.relkind = 'r'
			UNION ALL SELECT 3, 'row level security', coalesce(string_agg('policy ' || quote_ident(polname), ', ' ORDER BY polname), CASE WHEN c.relrowsecurity THEN 'that it is on' END) FROM pg_policy WHERE polrelid = t.oid
			UNION ALL SELECT 4, 'statistics', string_agg(quote_ident(stxname), ', ' ORDER BY stxname) FROM pg_statistic_ext WHERE stxrelid = t.oid
			UNION ALL SELECT 5, 'privileges', 'see \dp there' WHERE c.relacl IS NOT NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.oid AND attacl IS NOT NULL)
			UNION ALL SELECT 6, 'comments', 'of the table or its columns' WHERE EXISTS (SELECT FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid = t.oid)
			UNION ALL SELECT 7, 'tablespace', quote_ident(spcname) FROM pg_tablespace WHERE oid = c.reltablespace
			UNION ALL SELECT 8, 'persistence', 'UNLOGGED' WHERE c.relpersistence = 'u'
			UNION ALL SELECT 9, 'replica identity', 'FULL' WHERE c.relreplident = 'f'
			UNION ALL SELECT 10, 'indexes that are not valid', string_agg(indexrelid::regclass::text, ', ') FROM pg_index WHERE indrelid = t.oid AND NOT indisvalid
			UNION ALL SELECT 11, 'storage and statistics targets of columns', string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute a JOIN pg_type y ON y.oid = atttypid
				WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped AND (attstorage <> typstorage OR attcompression <> '' OR coalesce(attstattarget, -1) >= 0)
		) o WHERE o.names IS NOT NULL ORDER BY w.i, o.rank`, func(to migrate.Relation, kind, names string) {
		f.omit("%s of %s: %s", kind, to, names)
	})
}
