create table payments (
    id           bigserial primary key,
    order_id     bigint not null unique references orders,
    customer_id  bigint not null references customers,
    amount_cents bigint not null,
    status       text not null check (status in ('charged', 'refunded')),
    created_at   timestamptz not null,
    updated_at   timestamptz not null
);

create index payments_customer_id_idx on payments (customer_id);

create table invoices (
    id         bigserial primary key,
    payment_id bigint not null references payments,
    order_id   bigint not null references orders,
    number     text not null unique,
    issued_at  timestamptz not null
);

create index invoices_payment_id_idx on invoices (payment_id);

-- Orders whose refund came before their charge: the late charge must be refused.
create table charge_tombstones (
    order_id bigint primary key,
    at       timestamptz not null default now()
);
