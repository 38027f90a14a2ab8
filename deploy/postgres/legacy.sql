-- Runs once, as the superuser, when the legacy server is created. Passwords come from the environment.
--
-- The application and the mover are different roles: the gates let only the mover write into tables that are closed, and tell
-- it by its session's role. The mover is a superuser here because moving needs replication slots and origins, triggers on
-- somebody else's tables and session_replication_role; `strangler data plan` says which of the rights a lesser role lacks.
\set ON_ERROR_STOP on
\getenv shop_password SHOP_PASSWORD
\getenv mover_password MOVER_PASSWORD

create role shop login password :'shop_password';
create role mover login superuser replication password :'mover_password';
create database shop owner shop;
