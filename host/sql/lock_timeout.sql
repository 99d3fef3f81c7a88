-- Whether this connection waits for a lock for however long it takes.
select current_setting('lock_timeout') = '0' as for_ever
