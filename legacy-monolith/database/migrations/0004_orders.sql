create table carts (
    customer_id bigint primary key references customers,
    updated_at  timestamptz not null
);

create table cart_lines (
    customer_id bigint not null references carts on delete cascade,
    product_id  bigint not null references products,
    quantity    int not null check (quantity > 0),
    primary key (customer_id, product_id)
);

create table orders (
    id          bigserial primary key,
    customer_id bigint not null references customers,
    status      text not null check (status in ('pending', 'confirmed', 'refused', 'cancelled')),
    total_cents bigint not null,
    note        text not null default '',
    ref         text not null default '',
    revision    bigint not null default 0,
    created_at  timestamptz not null,
    updated_at  timestamptz not null
);

create index orders_customer_id_id_idx on orders (customer_id, id);

create table order_lines (
    order_id         bigint not null references orders on delete cascade,
    line             int not null,
    product_id       bigint not null references products,
    quantity         int not null,
    unit_price_cents bigint not null,
    primary key (order_id, line)
);

create table order_stats (
    customer_id bigint primary key references customers,
    writes      bigint not null,
    last_ref    text not null
);

create table order_log (
    id          bigserial primary key,
    customer_id bigint not null references customers,
    order_id    bigint references orders,
    kind        text not null,
    ref         text not null,
    at          timestamptz not null
);

create index order_log_customer_id_idx on order_log (customer_id);
create index order_log_order_id_idx on order_log (order_id);
