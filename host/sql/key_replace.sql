-- Gives a key whose time is over to a new task.
-- $1 kind, $2 key, $3 task, $4 fingerprint, $5 window in seconds
update hostler.key
set task = $3, fingerprint = $4, window_seconds = $5, taken_at = clock_timestamp()
where kind = $1 and key = $2
