-- Foreign keys that a switch has dropped in the legacy database, and how to make
-- them again: written in the transaction that drops them.
CREATE SCHEMA IF NOT EXISTS strangler;
CREATE TABLE IF NOT EXISTS strangler.border (
	capability        text NOT NULL,
	relation_schema   text NOT NULL,
	relation_name     text NOT NULL,
	constraint_name   text NOT NULL,
	referenced_schema text NOT NULL,
	referenced_name   text NOT NULL,
	definition        text NOT NULL,
	validated         boolean NOT NULL,
	dropped_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (capability, relation_schema, relation_name, constraint_name)
);
