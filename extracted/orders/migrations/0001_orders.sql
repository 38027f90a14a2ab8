-- The tables that move. Column names are the monolith's, but for order_lines, which is called items here,
-- and its unit_price_cents, which is called price_cents. No foreign key leads out of this database:
-- customers live with accounts, and a product may be gone from the catalogue while an order still names it.

CREATE TABLE carts (
    customer_id bigint PRIMARY KEY,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE cart_lines (
    customer_id bigint REFERENCES carts ON DELETE CASCADE,
    product_id  bigint,
    quantity    int NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (customer_id, product_id)
);

CREATE TABLE orders (
    id          bigserial PRIMARY KEY,
    customer_id bigint NOT NULL,
    status      text NOT NULL CHECK (status IN ('pending', 'confirmed', 'refused', 'cancelled')),
    total_cents bigint NOT NULL,
    note        text NOT NULL DEFAULT '',
    ref         text NOT NULL DEFAULT '',
    revision    bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX orders_customer_id_id_idx ON orders (customer_id, id);

CREATE TABLE items (
    order_id    bigint REFERENCES orders ON DELETE CASCADE,
    line        int,
    product_id  bigint NOT NULL,
    quantity    int NOT NULL,
    price_cents bigint NOT NULL,
    PRIMARY KEY (order_id, line)
);

CREATE TABLE order_stats (
    customer_id bigint PRIMARY KEY,
    writes      bigint NOT NULL,
    last_ref    text NOT NULL
);

CREATE TABLE order_log (
    id          bigserial PRIMARY KEY,
    customer_id bigint NOT NULL,
    order_id    bigint REFERENCES orders,
    kind        text NOT NULL,
    ref         text NOT NULL,
    at          timestamptz NOT NULL
);
CREATE INDEX order_log_customer_id_idx ON order_log (customer_id);
CREATE INDEX order_log_order_id_idx ON order_log (order_id);
