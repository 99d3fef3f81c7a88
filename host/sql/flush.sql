-- A commit that carries a few bytes, for a bench: with and without waiting for the disk, the difference is
-- the disk's.
-- $1 on or off
select pg_logical_emit_message(true, 'hostler.bench', set_config('synchronous_commit', $1, true))
