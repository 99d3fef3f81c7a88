-- A host's heartbeat. Nothing comes back if it was declared dead.
-- $1 session, $2 running attempts, $3 draining
update hostler.host
set beat = beat + 1, beat_at = clock_timestamp(), running = $2, draining = $3
where session = $1 and ended_at is null
returning beat, (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us
