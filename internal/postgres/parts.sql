-- What tables are made of besides tables: types, functions, collations and the
-- extensions that bring them, with the statement that makes each. $1 and $2 name
-- tables; $3 and $4 are the kinds and names of further objects.
WITH RECURSIVE wanted AS (
	SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w(schema, name)
	JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
),
seed(class, oid) AS (
	SELECT 'pg_class'::regclass::oid, oid FROM wanted
	UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid IN (TABLE wanted)
	UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid IN (TABLE wanted) AND contype <> 'f'
	UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid IN (TABLE wanted)
	UNION ALL SELECT f.class, f.oid FROM unnest($3::text[], $4::text[]) AS k(kind, name) CROSS JOIN LATERAL (
		SELECT 'pg_type'::regclass AS class, to_regtype(k.name)::oid AS oid WHERE k.kind = 'type'
		UNION ALL SELECT 'pg_proc'::regclass, to_regprocedure(k.name) WHERE k.kind = 'function'
		UNION ALL SELECT 'pg_collation'::regclass, to_regcollation(k.name) WHERE k.kind = 'collation'
		UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE k.kind = 'extension' AND extname = k.name
	) f WHERE f.oid IS NOT NULL
),
edge(class, oid, refclass, refoid) AS NOT MATERIALIZED (
	SELECT d.classid, d.objid, d.refclassid, d.refobjid FROM pg_depend d
	WHERE NOT (d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i') -- a composite's own
	AND (d.refclassid IN ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
		'pg_collation'::regclass, 'pg_language'::regclass, 'pg_extension'::regclass))
	-- What an extension brings is made by the extension.
	AND (d.deptype = 'e' OR NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e'))
	UNION ALL
	SELECT 'pg_type'::regclass, reltype, 'pg_class'::regclass, pg_class.oid FROM pg_class WHERE relkind = 'c'
	UNION ALL
	SELECT 'pg_type'::regclass, contypid, 'pg_constraint'::regclass, pg_constraint.oid FROM pg_constraint WHERE contypid <> 0
),
walk(class, oid) AS (
	TABLE seed
	UNION
	SELECT e.refclass, e.refoid FROM walk w JOIN edge e ON e.class = w.class AND e.oid = w.oid
)
SELECT w.class || ':' || w.oid,
	ARRAY(SELECT DISTINCT e.refclass || ':' || e.refoid FROM edge e WHERE e.class = w.class AND e.oid = w.oid ORDER BY 1),
	coalesce(p.kind, ''), coalesce(p.name, ''), coalesce(p.schema, ''), coalesce(p.version, ''), coalesce(p.recorded, ''), coalesce(p.definition, '')
FROM walk w LEFT JOIN LATERAL (
	SELECT 'extension' AS kind, x.extname::text AS name, n.nspname::text AS schema, x.extversion AS version, NULL AS recorded,
		format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', x.extname, n.nspname) AS definition
	FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE w.class = 'pg_extension'::regclass AND x.oid = w.oid AND x.extname <> 'plpgsql'
	UNION ALL
	SELECT 'function', f.oid::regprocedure::text, n.nspname, NULL, NULL, regexp_replace(pg_get_functiondef(f.oid), '^CREATE OR REPLACE ', 'CREATE ')
	FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE w.class = 'pg_proc'::regclass AND f.oid = w.oid AND f.prokind IN ('f', 'w') AND f.prolang <> 12
	UNION ALL
	SELECT 'collation', l.oid::regcollation::text, n.nspname, pg_collation_actual_version(l.oid), l.collversion,
		CASE WHEN n.nspname <> 'pg_catalog' THEN 'CREATE COLLATION ' || l.oid::regcollation::text || ' (' || CASE l.collprovider WHEN 'c' THEN
			format('provider = libc, lc_collate = %L, lc_ctype = %L', l.collcollate, l.collctype) ELSE
			format('provider = icu, locale = %L, deterministic = %s', coalesce(to_jsonb(l)->>'colliculocale', to_jsonb(l)->>'colllocale', l.collcollate), l.collisdeterministic::text) END || ')' END
	FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE w.class = 'pg_collation'::regclass AND l.oid = w.oid
	UNION ALL
	SELECT CASE WHEN y.typtype IN ('e', 'd', 'r') OR y.typtype = 'c' AND EXISTS (SELECT FROM pg_class WHERE pg_class.oid = y.typrelid AND relkind = 'c') THEN 'type' ELSE 'other' END,
		format_type(y.oid, NULL), n.nspname, NULL, NULL, CASE y.typtype
		WHEN 'e' THEN 'CREATE TYPE ' || format_type(y.oid, NULL) || ' AS ENUM ('
			|| (SELECT coalesce(string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder), '') FROM pg_enum WHERE enumtypid = y.oid) || ')'
		WHEN 'd' THEN 'CREATE DOMAIN ' || format_type(y.oid, NULL) || ' AS ' || format_type(y.typbasetype, y.typtypmod)
			|| coalesce((SELECT ' COLLATE ' || y.typcollation::regcollation::text FROM pg_type b WHERE b.oid = y.typbasetype AND y.typcollation <> b.typcollation), '')
			|| coalesce(' DEFAULT ' || pg_get_expr(y.typdefaultbin, 0), '') || CASE WHEN y.typnotnull THEN ' NOT NULL' ELSE '' END
			|| coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(k.oid)), '' ORDER BY conname) FROM pg_constraint k WHERE contypid = y.oid AND contype = 'c'), '')
		WHEN 'c' THEN 'CREATE TYPE ' || format_type(y.oid, NULL) || ' AS ('
			|| (SELECT coalesce(string_agg(format('%I %s', attname, format_type(atttypid, atttypmod))
				|| CASE WHEN attcollation <> t.typcollation THEN ' COLLATE ' || attcollation::regcollation::text ELSE '' END, ', ' ORDER BY attnum), '')
				FROM pg_attribute JOIN pg_type t ON t.oid = atttypid WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped) || ')'
		WHEN 'r' THEN (SELECT 'CREATE TYPE ' || format_type(y.oid, NULL) || ' AS RANGE (subtype = ' || format_type(r.rngsubtype, NULL)
			|| CASE WHEN o.opcdefault THEN '' ELSE format(', subtype_opclass = %I.%I', onsp.nspname, o.opcname) END
			|| CASE WHEN r.rngcollation NOT IN (0, s.typcollation) THEN ', collation = ' || r.rngcollation::regcollation::text ELSE '' END
			|| CASE WHEN r.rngsubdiff <> 0 THEN ', subtype_diff = ' || (SELECT format('%I.%I', q.nspname, f.proname) FROM pg_proc f JOIN pg_namespace q ON q.oid = f.pronamespace WHERE f.oid = r.rngsubdiff) ELSE '' END
			|| format(', multirange_type_name = %s)', format_type(r.rngmultitypid, NULL))
			FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc JOIN pg_namespace onsp ON onsp.oid = o.opcnamespace JOIN pg_type s ON s.oid = r.rngsubtype WHERE r.rngtypid = y.oid AND r.rngcanonical = 0)
		END
	FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
	-- An array and a multirange come with what they are of.
	WHERE w.class = 'pg_type'::regclass AND y.oid = w.oid AND y.typtype <> 'm' AND NOT (y.typtype = 'b' AND y.typelem <> 0 AND y.typlen = -1 AND y.typsubscript = 'array_subscript_handler'::regproc)
	UNION ALL
	SELECT 'other', pg_describe_object(w.class, w.oid, 0), '', NULL, NULL, NULL WHERE w.class IN ('pg_operator'::regclass, 'pg_opclass'::regclass)
) p ON NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = w.class AND e.objid = w.oid AND e.deptype = 'e')
ORDER BY 4, 1
