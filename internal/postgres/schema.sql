-- What strangler keeps in each of a capability's two databases. No publication
-- of ours contains these tables, or two movers would wake each other for ever.
SELECT pg_advisory_xact_lock(7305822174531);
CREATE SCHEMA IF NOT EXISTS strangler;
GRANT USAGE ON SCHEMA strangler TO PUBLIC;

-- One row per capability: whether its tables in this database take writes.
CREATE TABLE IF NOT EXISTS strangler.gate (
	capability    text PRIMARY KEY,
	side          text NOT NULL CHECK (side IN ('legacy', 'extracted')),
	state         text NOT NULL CHECK (state IN ('open', 'closing', 'sealed')),
	epoch         bigint NOT NULL,
	since         timestamptz NOT NULL DEFAULT clock_timestamp(),
	lease_until   timestamptz,             -- of a closing gate
	nonce         text NOT NULL DEFAULT '', -- of the last closing's marker
	mover         name NOT NULL,           -- the role that passes the guards
	self_system   text NOT NULL,
	self_timeline bigint NOT NULL,
	peer_system   text NOT NULL,
	peer_timeline bigint NOT NULL
);
GRANT SELECT ON strangler.gate TO PUBLIC;

-- What a stream into this database has applied: committed with the changes.
CREATE TABLE IF NOT EXISTS strangler.progress (
	capability text NOT NULL,
	source     text NOT NULL CHECK (source IN ('legacy', 'extracted')), -- the side the changes come from
	slot       text NOT NULL,
	position   pg_lsn NOT NULL,  -- end of the last applied transaction's commit record
	fence      bigint NOT NULL,  -- token of the controller that may write it
	system     text NOT NULL,    -- of the source
	timeline   bigint NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (capability, source)
);

-- Finished chunks of a backfill into this database: committed with the rows.
CREATE TABLE IF NOT EXISTS strangler.chunk (
	capability text NOT NULL,
	relation   text NOT NULL,
	low        bigint NOT NULL,  -- first block
	high       bigint NOT NULL,  -- block after the last
	rows       bigint NOT NULL,
	file       bigint NOT NULL DEFAULT 0, -- of the source's table, on whose blocks they were
	PRIMARY KEY (capability, relation, low)
);
ALTER TABLE strangler.chunk ADD COLUMN IF NOT EXISTS file bigint NOT NULL DEFAULT 0;
DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'strangler.chunk'::regclass AND attname = 'leaf') THEN
		-- The partition of the source's table that had the blocks, or the table itself.
		ALTER TABLE strangler.chunk ADD leaf text NOT NULL DEFAULT '', DROP CONSTRAINT chunk_pkey, ADD PRIMARY KEY (capability, relation, leaf, low);
	END IF;
END $$;

-- Of which partitions the captured tables of this database consist, as far as the
-- stream from it knows their rows: see partitions.go.
CREATE TABLE IF NOT EXISTS strangler.partition (
	capability text NOT NULL,
	root       oid NOT NULL,
	partition  oid NOT NULL,
	name       text NOT NULL,
	since      text NOT NULL, -- the transaction and command that attached it
	PRIMARY KEY (capability, partition)
);

-- What was taken off tables of this database for a backfill, and is to be made
-- again: written in the transaction that drops it, deleted in the one that makes it.
CREATE TABLE IF NOT EXISTS strangler.aside (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	capability text NOT NULL,
	pass       int NOT NULL,     -- all of one are made before any of the next
	kind       text NOT NULL,    -- for people
	relation   text NOT NULL,
	name       text NOT NULL,
	statement  text NOT NULL,
	tablespace text NOT NULL DEFAULT ''
);

-- By what the log named the rows of a table before a move had them named by an
-- index: relreplident of pg_class.
CREATE TABLE IF NOT EXISTS strangler.identity (
	capability text NOT NULL,
	relation   oid NOT NULL,
	before     text NOT NULL,
	PRIMARY KEY (capability, relation)
);

-- Where a move stands; kept in the extracted database.
CREATE TABLE IF NOT EXISTS strangler.move (
	capability  text PRIMARY KEY,
	phase       text NOT NULL,
	fingerprint text NOT NULL,       -- of tables and mapping
	snapshot    pg_lsn,              -- consistent point of the backfill
	horizon     pg_lsn,              -- behind everything that a later snapshot of it has seen; null: there was none
	verified_at timestamptz,         -- last full verification without mismatch
	updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
	capture_legacy text,             -- how the changes of each side are read
	capture_extracted text,
	layout      text                 -- the tables as they are followed, for the mover
);
ALTER TABLE strangler.move ADD COLUMN IF NOT EXISTS horizon pg_lsn, ADD COLUMN IF NOT EXISTS capture_legacy text, ADD COLUMN IF NOT EXISTS capture_extracted text,
	ADD COLUMN IF NOT EXISTS layout text;

-- The one active controller; in the legacy database. The domain names those who
-- take the lead from one another by this row.
CREATE TABLE IF NOT EXISTS strangler.leader (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one),
	holder     text NOT NULL,
	token      bigint NOT NULL,
	lease_until timestamptz NOT NULL,
	domain     text NOT NULL DEFAULT left(md5(gen_random_uuid()::text), 8)
);
ALTER TABLE strangler.leader ADD COLUMN IF NOT EXISTS domain text NOT NULL DEFAULT left(md5(gen_random_uuid()::text), 8);

-- The highest token of a leader that has reached this database: see fence.go.
CREATE TABLE IF NOT EXISTS strangler.fence (
	domain text PRIMARY KEY,
	token  bigint NOT NULL
);

-- Raises it, and refuses a token that has been passed.
CREATE OR REPLACE FUNCTION strangler.raise_fence(who text, raised bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $fence$
BEGIN
	INSERT INTO strangler.fence AS f VALUES (who, raised)
	ON CONFLICT (domain) DO UPDATE SET token = excluded.token WHERE f.token <= excluded.token;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'P0S03', MESSAGE = 'another controller leads since the one with token ' || raised;
	END IF;
END
$fence$;
REVOKE EXECUTE ON FUNCTION strangler.raise_fence(text, bigint) FROM PUBLIC;
