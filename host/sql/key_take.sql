-- Takes an idempotency key for a new task, or leaves it with the task that has it.
-- $1 kind, $2 key, $3 task, $4 fingerprint, $5 window in seconds
insert into hostler.key (kind, key, task, fingerprint, window_seconds)
values ($1, $2, $3, $4, $5)
on conflict (kind, key) do nothing
returning task
