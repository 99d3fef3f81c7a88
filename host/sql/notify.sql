-- Rings: one notification for each payload, in a transaction of its own that waits for no disk, because a
-- notifying commit holds a lock on all others of the database.
-- $1 channel, $2 payloads
with quick as materialized (
    select set_config('synchronous_commit', 'off', true)
)
select count(pg_notify($1, payload)) as rung
from quick, unnest($2::text[]) as payload
