-- Runs once, as the superuser, when the server of the extracted services is created. One database and one role per service: what
-- the services may not do to each other, the server does not let them do. For the role `mover` see legacy.sql.
\set ON_ERROR_STOP on
\getenv orders_password ORDERS_PASSWORD
\getenv catalog_password CATALOG_PASSWORD
\getenv mover_password MOVER_PASSWORD

create role orders login password :'orders_password';
create role catalog login password :'catalog_password';
create role mover login superuser replication password :'mover_password';
create database orders owner orders;
create database catalog owner catalog;
revoke connect on database orders from public;
revoke connect on database catalog from public;
