-- Capture by triggers: every change of a captured table is written a second time,
-- in its own transaction, into tables of events that the mover reads. After PgQ
-- (Skype's queue in PostgreSQL), whose ticks these are.

-- One row per capability whose changes are captured here.
CREATE TABLE IF NOT EXISTS strangler.outbox (
	capability text PRIMARY KEY,
	relations  oid[] NOT NULL,              -- captured; of a partitioned table the root
	writing    smallint NOT NULL DEFAULT 0, -- which of the three tables of events takes new ones
	since      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A tick is a point of the stream: everything that its snapshot shows is before it.
CREATE TABLE IF NOT EXISTS strangler.tick (
	capability text NOT NULL,
	position   pg_lsn NOT NULL, -- of the log when it was made; higher than every earlier tick's
	snapshot   pg_snapshot NOT NULL,
	made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (capability, position)
);

-- Makes a tick of a snapshot, or of the present. Ticks are made one after the
-- other, so that each shows what the one before has shown. When the tick is
-- durable, so is everything before it: their commits are earlier in the log.
CREATE OR REPLACE FUNCTION strangler.make_tick(cap text, of pg_snapshot DEFAULT NULL)
RETURNS SETOF strangler.tick LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $tick$
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('strangler tick ' || cap, 0));
	RETURN QUERY INSERT INTO strangler.tick (capability, position, snapshot)
		SELECT cap, greatest(pg_current_wal_insert_lsn(), (SELECT max(t.position) + 1 FROM strangler.tick t WHERE t.capability = cap)),
		       coalesce(of, pg_current_snapshot()) -- a new one since the lock was got
		RETURNING *;
END
$tick$;

-- Makes the tables of events, their sequence, and the function that writes them.
-- The sequence gives one number at a time: numbers are drawn under the row's lock,
-- so that their order is that of the changes of each row.
CREATE OR REPLACE FUNCTION strangler.make_outbox(cap text, tables oid[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $make$
DECLARE
	writes text := '';
BEGIN
	EXECUTE format('CREATE SEQUENCE strangler.%I CACHE 1', 'event_' || cap);
	FOR i IN 0..2 LOOP
		-- Emptied as a whole, and never updated: there is nothing to vacuum.
		EXECUTE format('CREATE TABLE strangler.%I (seq bigint NOT NULL, xid xid8 NOT NULL, relation oid NOT NULL, op "char" NOT NULL, before text, after text)
			WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)', 'events' || i || '_' || cap);
		EXECUTE format('CREATE INDEX ON strangler.%I (xid)', 'events' || i || '_' || cap);
		writes := writes || format('%s INSERT INTO strangler.%I VALUES (nextval(%L), pg_current_xact_id(), TG_RELID, left(TG_OP, 1)::"char", before, after);',
			(ARRAY['IF writing = 1 THEN', 'ELSIF writing = 2 THEN', 'ELSE'])[i + 1], 'events' || (i + 1) % 3 || '_' || cap, format('strangler.%I', 'event_' || cap));
	END LOOP;
	-- Its own settings, so that a value is the same text whatever the application
	-- has set, and its owner's rights, so that the application needs none.
	EXECUTE format($function$
		CREATE FUNCTION strangler.%1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
		SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET timezone = 'UTC'
		SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' AS $capture$
		#variable_conflict use_variable
		DECLARE
			before text; after text; writing smallint; width smallint;
		BEGIN
			SELECT o.writing, c.relnatts INTO writing, width FROM strangler.outbox o, pg_class c WHERE o.capability = %2$L AND c.oid = TG_RELID;
			IF TG_OP = 'UPDATE' OR TG_OP = 'DELETE' THEN before := width || OLD::text; END IF;
			IF TG_OP = 'UPDATE' OR TG_OP = 'INSERT' THEN after := width || NEW::text; END IF;
			%3$s END IF;
			RETURN NULL;
		END $capture$ $function$, 'capture_' || cap, cap, writes);
	EXECUTE format('REVOKE ALL ON FUNCTION strangler.%I() FROM PUBLIC', 'capture_' || cap);
	INSERT INTO strangler.outbox (capability, relations) VALUES (cap, tables);
END
$make$;

-- Captures one table and its partitions. Rows are captured at commit, in the
-- order of their changes: a trigger of the application's that changes the row it
-- is fired for would come in between otherwise. Whoever passes for a replica fires
-- them as well, as the mover of another capability that copies the table does; only
-- what the capability's own mover brings from the other side is not sent back.
-- Truncations are told of every partition apart.
CREATE OR REPLACE FUNCTION strangler.add_capture(cap text, parent regclass)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $add$
DECLARE
	r     regclass;
	rows  name := 'strangler_capture_' || cap; -- a table may be of several capabilities
	whole name := 'strangler_truncate_' || cap;
	-- Looked at when the row is written, so that nothing is put off that is left out.
	others text := format($when$(current_setting('session_replication_role') <> 'replica' OR coalesce(current_setting('strangler.applying', true), '') <> %L)$when$, cap);
BEGIN
	FOR r IN SELECT parent UNION SELECT relid FROM pg_partition_tree(parent) ORDER BY 1 LOOP
		EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', r);
	END LOOP;
	IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = parent AND tgname = rows) THEN
		EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN %s EXECUTE FUNCTION strangler.%I()', rows, parent, others, 'capture_' || cap);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', parent, rows);
	END IF;
	FOR r IN SELECT parent UNION SELECT relid FROM pg_partition_tree(parent) ORDER BY 1 LOOP
		CONTINUE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = r AND tgname = whole);
		EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %s FOR EACH STATEMENT WHEN %s EXECUTE FUNCTION strangler.%I()', whole, r, others, 'capture_' || cap);
		EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', r, whole);
	END LOOP;
END
$add$;

-- The captured tables, with the state of what captures them: what does not fire
-- always for the rows of each partition has changed behind the mover's back.
CREATE OR REPLACE FUNCTION strangler.captured(cap text)
RETURNS TABLE (root oid, relation oid, rows boolean, truncations boolean) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $captured$
	SELECT r, m.relid,
	       EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = m.relid AND t.tgname = 'strangler_capture_' || cap
	               AND p.proname = 'capture_' || cap AND t.tgenabled = 'A'),
	       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = m.relid AND tgname = 'strangler_truncate_' || cap AND tgenabled = 'A')
	FROM strangler.outbox o, unnest(o.relations) r
	CROSS JOIN LATERAL (SELECT r AS relid UNION SELECT relid FROM pg_partition_tree(r::regclass)) m
	WHERE o.capability = cap
$captured$;

-- Says whether a table of events has one that the snapshot does not show: new
-- transactions by a range of the index, those that were in progress one by one.
CREATE OR REPLACE FUNCTION strangler.unseen(events text, seen pg_snapshot)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $unseen$
DECLARE
	found boolean;
BEGIN
	EXECUTE format('SELECT coalesce((SELECT xid FROM strangler.%1$I ORDER BY xid DESC LIMIT 1) >= pg_snapshot_xmax($1), false)
		OR EXISTS (SELECT FROM pg_snapshot_xip($1) x WHERE (SELECT xid FROM strangler.%1$I WHERE xid >= x ORDER BY xid LIMIT 1) = x)', events) INTO found USING seen;
	RETURN found;
END
$unseen$;

-- Forgets what is applied: ticks, and tables of events of which nobody needs one
-- any more. Nothing waits for it: a table that somebody writes into is left for
-- another time. Then, when the table that takes new events has become large or
-- old, the next empty one takes its place.
CREATE OR REPLACE FUNCTION strangler.tend_outbox(cap text, applied pg_lsn, most bigint, age interval)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $tend$
DECLARE
	box    strangler.outbox%ROWTYPE;
	last   strangler.tick%ROWTYPE;
	events text;
	next   smallint;
BEGIN
	SELECT * INTO box FROM strangler.outbox o WHERE o.capability = cap;
	SELECT * INTO last FROM strangler.tick t WHERE t.capability = cap AND t.position <= applied ORDER BY t.position DESC LIMIT 1;
	IF box.capability IS NULL OR last.capability IS NULL THEN
		RETURN;
	END IF;
	DELETE FROM strangler.tick t WHERE t.capability = cap AND t.position < last.position;
	FOR i IN 0..2 LOOP
		events := 'events' || i || '_' || cap;
		CONTINUE WHEN i = box.writing OR pg_relation_size(format('strangler.%I', events)::regclass) = 0 OR strangler.unseen(events, last.snapshot);
		BEGIN
			EXECUTE format('LOCK TABLE strangler.%I IN ACCESS EXCLUSIVE MODE NOWAIT', events);
		EXCEPTION WHEN lock_not_available THEN
			CONTINUE;
		END;
		-- Again, now that whoever had chosen the table long ago has written or not.
		IF NOT strangler.unseen(events, last.snapshot) THEN
			EXECUTE format('TRUNCATE strangler.%I', events);
		END IF;
	END LOOP;
	events := format('strangler.%I', 'events' || box.writing || '_' || cap);
	next := (box.writing + 1) % 3;
	IF (pg_table_size(events::regclass) > most OR pg_relation_size(events::regclass) > 0 AND box.since < clock_timestamp() - age)
	   AND pg_relation_size(format('strangler.%I', 'events' || next || '_' || cap)::regclass) = 0 THEN
		UPDATE strangler.outbox o SET writing = next, since = clock_timestamp() WHERE o.capability = cap;
	END IF;
END
$tend$;

-- Removes what make_outbox has made, when no table has a trigger any more.
CREATE OR REPLACE FUNCTION strangler.drop_outbox(cap text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $drop$
BEGIN
	EXECUTE format('DROP FUNCTION IF EXISTS strangler.%I()', 'capture_' || cap);
	FOR i IN 0..2 LOOP
		EXECUTE format('DROP TABLE IF EXISTS strangler.%I', 'events' || i || '_' || cap);
	END LOOP;
	EXECUTE format('DROP SEQUENCE IF EXISTS strangler.%I', 'event_' || cap);
	DELETE FROM strangler.tick t WHERE t.capability = cap;
	DELETE FROM strangler.outbox o WHERE o.capability = cap;
END
$drop$;

-- Writes a marker into the capability's change stream, however it is captured.
CREATE OR REPLACE FUNCTION strangler.write_marker(cap text, marker text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $marker$
DECLARE
	box strangler.outbox%ROWTYPE;
BEGIN
	PERFORM pg_logical_emit_message(true, 'strangler', marker);
	SELECT * INTO box FROM strangler.outbox o WHERE o.capability = cap;
	IF FOUND THEN
		EXECUTE format('INSERT INTO strangler.%I VALUES (nextval(%L), pg_current_xact_id(), 0, ''M'', NULL, $1)',
			'events' || box.writing || '_' || cap, format('strangler.%I', 'event_' || cap)) USING marker;
	END IF;
END
$marker$;

REVOKE EXECUTE ON FUNCTION strangler.make_tick(text, pg_snapshot), strangler.make_outbox(text, oid[]), strangler.add_capture(text, regclass),
	strangler.unseen(text, pg_snapshot), strangler.tend_outbox(text, pg_lsn, bigint, interval), strangler.drop_outbox(text),
	strangler.write_marker(text, text) FROM PUBLIC;
