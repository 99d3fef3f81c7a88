-- Whether this server is a standby, which can neither be written to nor listened on; asked of connections that may
-- lead to another server than they did.
select pg_is_in_recovery() as standby
