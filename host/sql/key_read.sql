-- Who has an idempotency key, after `key_lock` so that its snapshot holds what that one waited for; and
-- whether the key's time is over: its task is final and the window has passed, or the task is gone.
-- $1 kind, $2 key
select
    k.task,
    k.fingerprint,
    not exists (select from hostler.task t where t.id = k.task)
    and not exists (
        select
        from hostler.history h
        where h.id = k.task and h.finished_at + k.window_seconds * interval '1 second' > clock_timestamp()
    ) as over
from hostler.key k
where k.kind = $1 and k.key = $2
