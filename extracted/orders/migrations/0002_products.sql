-- A reference copy of the catalogue's products: names and prices for carts and checkouts. Only the data
-- mover writes it; this service reads it and nothing refers to it.

CREATE TABLE products (
    id          bigint PRIMARY KEY,
    sku         text NOT NULL,
    name        text NOT NULL,
    description text NOT NULL,
    category    text NOT NULL,
    price_cents bigint NOT NULL CHECK (price_cents >= 0),
    active      boolean NOT NULL DEFAULT true,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
