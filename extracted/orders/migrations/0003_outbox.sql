-- What remains to be done outside this database for an order. It is this service's own and never moves.
-- One actor at a time: whoever holds the lease. Every claim raises lease, and every later step names the
-- lease it acts under, so that one who slept through the end of its lease can change nothing.

CREATE TABLE outbox (
    order_id    bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('checkout', 'cancel')),
    customer_id bigint NOT NULL,
    ref         text NOT NULL,
    refusal     text NOT NULL DEFAULT '' CHECK (refusal IN ('', 'stock', 'charge', 'refunded')),
    request_id  text NOT NULL DEFAULT '',
    traceparent text NOT NULL DEFAULT '',
    tracestate  text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    lease       bigint NOT NULL DEFAULT 1,
    lease_until timestamptz NOT NULL,
    done_at     timestamptz,
    PRIMARY KEY (order_id, kind)
);
CREATE INDEX outbox_due_idx ON outbox (lease_until) WHERE done_at IS NULL;
CREATE INDEX outbox_done_idx ON outbox (done_at) WHERE done_at IS NOT NULL;
