-- What the gate of a capability has refused is counted by a sequence, the one thing
-- that stays of a transaction that is refused. It comes and goes with the gate.
CREATE OR REPLACE FUNCTION strangler.refusals(cap text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $refusals$ SELECT format('strangler.%I', 'refused ' || cap) $refusals$;

-- Whom it has refused is kept the same way: eight places of six sequences each, for
-- the role, with the second of the last refusal; four times seven bytes of the
-- application's name; and how many there were.
CREATE OR REPLACE FUNCTION strangler.refused_writer(cap text, place int, part int) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $writer$ SELECT format('strangler.%I', format('refused %s.%s %s', place, part, cap)) $writer$;

CREATE OR REPLACE FUNCTION strangler.count_refusals() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $count$
DECLARE
	cap CONSTANT text := CASE TG_OP WHEN 'INSERT' THEN NEW.capability ELSE OLD.capability END;
	making CONSTANT text := CASE TG_OP WHEN 'INSERT' THEN 'CREATE SEQUENCE IF NOT EXISTS %s MINVALUE 0 START 1' ELSE 'DROP SEQUENCE IF EXISTS %s' END;
BEGIN
	EXECUTE format(making, strangler.refusals(cap));
	FOR place IN 0..7 LOOP
		FOR part IN 0..5 LOOP
			EXECUTE format(making, strangler.refused_writer(cap, place, part));
		END LOOP;
	END LOOP;
	RETURN NULL;
END
$count$;
CREATE OR REPLACE TRIGGER refusals AFTER INSERT OR DELETE ON strangler.gate FOR EACH ROW EXECUTE FUNCTION strangler.count_refusals();

-- Notes whom a gate refuses, if nobody else is noting at the moment: the lock goes
-- with the transaction that is refused, and the numbers stay. Where there is no place
-- left, the writer that was refused longest ago is forgotten.
CREATE OR REPLACE FUNCTION strangler.note_refused(cap text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $note$
DECLARE
	role    CONSTANT bigint := (SELECT oid FROM pg_roles WHERE rolname = session_user);
	name    CONSTANT bytea := convert_to(current_setting('application_name'), 'UTF8');
	seconds CONSTANT bigint := floor(extract(epoch FROM clock_timestamp() - '2020-01-01 00:00Z'::timestamptz));
	parts   CONSTANT bigint[] := ARRAY(SELECT ('x' || rpad(encode(substr(name, 1 + 7*i, 7), 'hex'), 14, '0'))::bit(56)::bigint FROM generate_series(0, 3) i ORDER BY i);
	chosen  int;
	oldest  bigint;
	seen    bigint;
	already bigint := 0;
BEGIN
	IF to_regclass(strangler.refused_writer(cap, 7, 5)) IS NULL
		OR NOT pg_try_advisory_xact_lock('strangler.gate'::regclass::oid::int, hashtext(cap)) THEN
		RETURN;
	END IF;
	FOR place IN 0..7 LOOP
		seen := coalesce(pg_sequence_last_value(strangler.refused_writer(cap, place, 0)::regclass), 0);
		IF seen >> 31 = role AND parts = ARRAY(SELECT pg_sequence_last_value(strangler.refused_writer(cap, place, i)::regclass) FROM generate_series(1, 4) i ORDER BY i) THEN
			chosen := place;
			already := pg_sequence_last_value(strangler.refused_writer(cap, place, 5)::regclass);
			EXIT;
		END IF;
		seen := seen & 2147483647;
		IF oldest IS NULL OR seen < oldest THEN
			chosen := place;
			oldest := seen;
		END IF;
	END LOOP;
	FOR i IN 1..4 LOOP
		PERFORM setval(strangler.refused_writer(cap, chosen, i)::regclass, parts[i]);
	END LOOP;
	PERFORM setval(strangler.refused_writer(cap, chosen, 5)::regclass, already + 1);
	PERFORM setval(strangler.refused_writer(cap, chosen, 0)::regclass, role << 31 | seconds);
END
$note$;

CREATE OR REPLACE FUNCTION strangler.refused_writers(cap text) RETURNS TABLE (application text, role text, refused bigint, last timestamptz)
LANGUAGE sql VOLATILE SET search_path = pg_catalog AS $writers$
	SELECT pg_try_advisory_xact_lock_shared('strangler.gate'::regclass::oid::int, hashtext(cap)); -- a note is read whole
	SELECT convert_from(rtrim(s.name, '\x00'), 'UTF8'), coalesce(r.rolname, 'role ' || (p.v[1] >> 31)), p.v[6],
		'2020-01-01 00:00Z'::timestamptz + make_interval(secs => p.v[1] & 2147483647)
	FROM generate_series(0, 7) place
	CROSS JOIN LATERAL (SELECT ARRAY(
		SELECT pg_sequence_last_value(to_regclass(strangler.refused_writer(cap, place, i))) FROM generate_series(0, 5) i ORDER BY i) v) p
	CROSS JOIN LATERAL (SELECT string_agg(substr(int8send(p.v[i]), 2), '' ORDER BY i) name FROM generate_series(2, 5) i) s
	LEFT JOIN pg_roles r ON r.oid = p.v[1] >> 31
	WHERE p.v[1] IS NOT NULL AND p.v[6] IS NOT NULL
	ORDER BY 4 DESC, 3 DESC
$writers$;

-- The gate of a capability: whether this database takes writes to its tables.
--
-- A guard is a statement-level trigger on every table of the capability, and on
-- every partition of it. It may refuse on a plain read of the gate row and never
-- permits on one: to permit, it locks the row and decides on what it locked. So
-- a REPEATABLE READ transaction that began before a closing gets a
-- serialization failure instead of a write into a closed table, and a write and
-- a sealing stand in one queue, whatever the clocks do.
CREATE OR REPLACE FUNCTION strangler.guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $guard$
DECLARE
	cap  CONSTANT text := TG_ARGV[0];
	pass CONSTANT text := coalesce(current_setting('strangler.mover', true), '');
	g    strangler.gate%ROWTYPE;
BEGIN
	IF pass <> '' THEN
		-- The mover, or somebody who would like to pass for it: straight to the
		-- lock, because the mover meets this guard with every statement.
		SELECT * INTO g FROM strangler.gate WHERE capability = cap FOR SHARE;
		IF session_user = g.mover AND pass = cap || ':' || g.epoch OR g.state = 'open' THEN
			RETURN NULL;
		END IF;
	ELSE
		SELECT * INTO g FROM strangler.gate WHERE capability = cap;
	END IF;
	IF g.capability IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'P0S02',
			MESSAGE = format('table %s is guarded for capability "%s", which has no gate', TG_RELID::regclass, cap),
			HINT = format('strangler data reset %s removes the guards of a move that is gone', cap);
	END IF;

	IF g.state = 'open' THEN
		SELECT * INTO g FROM strangler.gate WHERE capability = cap FOR SHARE;
		IF g.state = 'open' THEN
			RETURN NULL;
		END IF;
	ELSIF g.state = 'closing' AND g.lease_until <= clock_timestamp() AND pass = '' THEN
		-- Straight for the exclusive lock: two writers that both held a shared
		-- one would deadlock on the upgrade.
		SELECT * INTO g FROM strangler.gate WHERE capability = cap FOR UPDATE;
		IF g.state = 'open' THEN
			RETURN NULL;
		END IF;
		IF g.state = 'closing' AND g.lease_until <= clock_timestamp() THEN
			IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
				PERFORM set_config('synchronous_commit', 'on', true);
			END IF;
			UPDATE strangler.gate
			SET state = 'open', epoch = g.epoch + 1, since = clock_timestamp(), lease_until = NULL
			WHERE capability = cap;
			RETURN NULL;
		END IF;
	END IF;

	IF pass = '' AND to_regclass(strangler.refusals(cap)) IS NOT NULL THEN
		PERFORM nextval(strangler.refusals(cap)::regclass);
		PERFORM strangler.note_refused(cap);
	END IF;
	IF g.state = 'closing' THEN
		RAISE EXCEPTION USING ERRCODE = 'P0S01',
			MESSAGE = format('capability "%s" is being switched: table %s takes no writes until %s', cap, TG_RELID::regclass, g.lease_until),
			HINT = format('Try again in some seconds. If the write came through the proxy, which holds writes meanwhile, its route is taken for a read: give it "class: write" in the document of %s. How to find such routes: docs/cutover.md, "GET routes that write".', cap);
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'P0S01',
		MESSAGE = CASE WHEN g.state = 'open' OR session_user = g.mover AND pass <> ''
			THEN format('the gate of capability "%s" has changed (epoch %s): table %s', cap, g.epoch, TG_RELID::regclass)
			ELSE format('capability "%s" is owned by %s since %s: table %s takes no writes here',
				cap, CASE g.side WHEN 'legacy' THEN 'extracted' ELSE 'legacy' END, to_char(g.since, 'YYYY-MM-DD HH24:MI:SS TZ'), TG_RELID::regclass) END,
		HINT = format('Send the write through the proxy. If it came through it, its route is taken for a read: give it "class: write" in the document of %s. How to find such routes: docs/cutover.md, "GET routes that write". See also: strangler status %s', cap, cap);
END
$guard$;

-- The guarded tables of a capability in the order in which everybody locks them.
CREATE OR REPLACE FUNCTION strangler.guarded(cap text) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog AS $guarded$
	SELECT DISTINCT ON (t.tgrelid) t.tgrelid::regclass FROM pg_trigger t
	WHERE t.tgfoid = 'strangler.guard()'::regprocedure
	  AND t.tgargs = convert_to(cap, 'UTF8') || '\x00'::bytea
	ORDER BY t.tgrelid
$guarded$;

-- Shuts a gate: one round trip, so that a client that stalls between lock and
-- commit cannot hold the tables; the caller bounds it by statement_timeout. When
-- it commits no older write is in flight, and the marker is the point in the
-- change stream behind which there is none. Returns false when the gate is not
-- what the caller believes.
CREATE OR REPLACE FUNCTION strangler.shut_gate(cap text, expected bigint, next bigint, becomes text, lease interval, marker text)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $shut$
DECLARE
	r regclass;
	g strangler.gate%ROWTYPE;
BEGIN
	FOR r IN SELECT * FROM strangler.guarded(cap) LOOP
		EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', r);
	END LOOP;
	SELECT * INTO g FROM strangler.gate WHERE capability = cap FOR UPDATE;
	IF NOT FOUND OR g.state <> 'open' OR g.epoch <> expected OR next <= expected THEN
		RETURN false;
	END IF;
	FOR r IN SELECT * FROM strangler.guarded(cap) LOOP
		EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER strangler_guard, ENABLE ALWAYS TRIGGER strangler_guard_truncate', r);
	END LOOP;
	UPDATE strangler.gate
	SET state = becomes, epoch = next, since = clock_timestamp(), nonce = marker,
	    lease_until = CASE becomes WHEN 'closing' THEN clock_timestamp() + lease END
	WHERE capability = cap;
	PERFORM strangler.write_marker(cap, marker);
	RETURN true;
END
$shut$;

-- The commit point of a switch: only the closing that the caller drained and
-- verified, and only while its lease stands.
CREATE OR REPLACE FUNCTION strangler.seal_gate(cap text, closing bigint)
RETURNS bigint LANGUAGE sql SET search_path = pg_catalog AS $seal$
	UPDATE strangler.gate
	SET state = 'sealed', epoch = epoch + 1, since = clock_timestamp(), lease_until = NULL
	WHERE capability = cap AND state = 'closing' AND epoch = closing AND lease_until > clock_timestamp()
	RETURNING epoch
$seal$;

-- Opens a gate that is sealed or closing, if it is the one the caller read, and
-- if both databases are still those that the move began with. The timeline is the
-- one that is written now: pg_control has it from the last checkpoint, which a
-- standby that was just promoted made before.
CREATE OR REPLACE FUNCTION strangler.open_gate(cap text, expected bigint, next bigint, peer text, peer_line bigint)
RETURNS bigint LANGUAGE sql SET search_path = pg_catalog AS $open$
	UPDATE strangler.gate
	SET state = 'open', epoch = next, since = clock_timestamp(), lease_until = NULL
	WHERE capability = cap AND state <> 'open' AND epoch = expected AND next > expected
	  AND peer_system = peer AND peer_timeline = peer_line
	  AND self_system = (SELECT system_identifier::text FROM pg_control_system())
	  AND self_timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
	RETURNING epoch
$open$;

-- Takes the guards of one table of an open gate out of the writers' way. One
-- table a transaction: whoever waits for it here holds nothing that a writer
-- could wait for in turn. The table comes before the gate row, as everywhere;
-- state and epoch are checked under the row's lock, so that a late call cannot
-- unlock a side that has been closed since.
CREATE OR REPLACE FUNCTION strangler.disable_guard(cap text, expected bigint, r regclass)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $disable$
BEGIN
	EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', r);
	PERFORM FROM strangler.gate WHERE capability = cap AND state = 'open' AND epoch = expected FOR SHARE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER strangler_guard, DISABLE TRIGGER strangler_guard_truncate', r);
	RETURN true;
END
$disable$;

-- Puts guards on one table and its partitions, as the gate's state wants them.
-- Tables that have them already keep them.
CREATE OR REPLACE FUNCTION strangler.add_guards(cap text, parent regclass)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $add$
DECLARE
	r    regclass;
	is_open boolean;
BEGIN
	FOR r IN SELECT parent UNION SELECT relid FROM pg_partition_tree(parent) ORDER BY 1 LOOP
		EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', r);
		CONTINUE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = r AND tgname = 'strangler_guard');
		SELECT state = 'open' INTO STRICT is_open FROM strangler.gate WHERE capability = cap FOR SHARE;
		EXECUTE format('CREATE TRIGGER strangler_guard BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION strangler.guard(%L)', r, cap);
		EXECUTE format('CREATE TRIGGER strangler_guard_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION strangler.guard(%L)', r, cap);
		IF is_open THEN
			EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER strangler_guard, DISABLE TRIGGER strangler_guard_truncate', r);
		ELSE
			EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER strangler_guard, ENABLE ALWAYS TRIGGER strangler_guard_truncate', r);
		END IF;
	END LOOP;
END
$add$;

-- Tells, in the change stream, that a partition was truncated. Its row changes come
-- as those of its root, but its truncation is not told of otherwise.
CREATE OR REPLACE FUNCTION strangler.partition_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $truncated$
BEGIN
	PERFORM pg_logical_emit_message(true, 'strangler_truncated', json_build_array(n.nspname, c.relname, TG_RELID::regclass::text)::text)
	FROM pg_partition_ancestors(TG_RELID) r JOIN pg_class c ON c.oid = r AND c.relkind = 'p' AND NOT c.relispartition JOIN pg_namespace n ON n.oid = c.relnamespace;
	RETURN NULL;
END
$truncated$;

-- Has the truncations of all partitions of a table told, of every level.
CREATE OR REPLACE FUNCTION strangler.tell_truncations(cap text, parent regclass)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $tell$
DECLARE
	r regclass;
BEGIN
	FOR r IN SELECT relid FROM pg_partition_tree(parent) WHERE relid <> parent ORDER BY 1 LOOP
		CONTINUE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = r AND tgname = left('strangler_truncated_' || cap, 63));
		EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION strangler.partition_truncated(%L)', left('strangler_truncated_' || cap, 63), r, cap);
	END LOOP;
END
$tell$;

-- Only the role that made them calls these; writers meet nothing but the guard.
REVOKE EXECUTE ON FUNCTION strangler.shut_gate(text, bigint, bigint, text, interval, text), strangler.seal_gate(text, bigint),
	strangler.open_gate(text, bigint, bigint, text, bigint), strangler.disable_guard(text, bigint, regclass), strangler.add_guards(text, regclass),
	strangler.tell_truncations(text, regclass), strangler.partition_truncated(),
	strangler.note_refused(text), strangler.refused_writers(text) FROM PUBLIC;
