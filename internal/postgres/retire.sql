-- Removes what strangler keeps in a database, where no capability needs it any
-- more. The row of the active controller stays, its table, and what fences it.
SELECT pg_advisory_xact_lock(7305822174531);
DO $uninstall$
DECLARE
	ours   CONSTANT regnamespace := to_regnamespace('strangler');
	needed boolean;
	what   text;
BEGIN
	IF ours IS NULL THEN
		RETURN;
	END IF;
	FOR what IN SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'capability' AND NOT a.attisdropped
		WHERE c.relnamespace = ours AND c.relkind = 'r' LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s)', what) INTO needed;
		IF needed THEN
			RETURN;
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid WHERE p.pronamespace = ours AND c.relnamespace <> ours)
	   OR EXISTS (SELECT FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid WHERE p.pronamespace = ours) THEN
		RETURN; -- of somebody who is not on record
	END IF;
	needed := false;
	IF to_regclass('strangler.leader') IS NOT NULL THEN
		SELECT EXISTS (SELECT FROM strangler.leader) INTO needed;
	END IF;
	IF NOT needed THEN
		DROP SCHEMA strangler CASCADE;
		RETURN;
	END IF;
	-- Tables have triggers, whose functions take rows of tables.
	FOR what IN SELECT format('%I ON %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		WHERE c.relnamespace = ours AND NOT t.tgisinternal AND c.relname NOT IN ('leader', 'fence') LOOP
		EXECUTE 'DROP TRIGGER ' || what;
	END LOOP;
	FOR what IN SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = ours AND p.proname <> 'raise_fence' LOOP
		EXECUTE 'DROP ROUTINE ' || what;
	END LOOP;
	FOR what IN SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = ours AND c.relkind = 'r' AND c.relname NOT IN ('leader', 'fence') LOOP
		EXECUTE 'DROP TABLE ' || what;
	END LOOP;
END
$uninstall$;
