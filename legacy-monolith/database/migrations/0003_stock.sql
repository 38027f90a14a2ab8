create table stock (
    product_id bigint primary key references products,
    quantity   bigint not null check (quantity >= 0)
);

-- order_id has no foreign key: stock answers for orders it cannot see.
create table stock_movements (
    order_id   bigint not null,
    product_id bigint not null references products,
    kind       text not null check (kind in ('take', 'return')),
    quantity   bigint not null,
    at         timestamptz not null default now(),
    primary key (order_id, product_id, kind)
);

-- Orders whose return came before their take: the late take must be refused.
create table stock_tombstones (
    order_id bigint primary key,
    at       timestamptz not null default now()
);
