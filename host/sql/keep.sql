-- Keeps a step of a running attempt, fenced by its claim: on disk when this returns. `held` is whether the claim
-- still is, `kept` whether there was room.
-- $1 session, $2 task, $3 claim, $4 name, $5 value, $6 at most so many steps, $7 of so many bytes in all
with durable as materialized (
    select case when current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end
),
me as materialized (
    select session
    from hostler.host, durable
    where session = $1 and ended_at is null
    for key share of host
),
held as materialized (
    select t.id, t.attempt
    from hostler.task t, me
    where t.id = $2 and t.session = me.session and t.claim = $3
    for key share of t
),
others as (
    select count(*) as steps, coalesce(sum(octet_length(c.value) + octet_length(c.name)), 0) as bytes
    from hostler.checkpoint c
    where c.task = $2 and c.name <> $4
),
kept as (
    insert into hostler.checkpoint (task, name, value, attempt)
    select held.id, $4, $5, held.attempt
    from held, others
    where others.steps < $6 and others.bytes + octet_length($5) + octet_length($4) <= $7
    on conflict (task, name) do update
    set value = excluded.value, attempt = excluded.attempt, kept_at = clock_timestamp()
    returning task
)
select exists (select from held) as held, exists (select from kept) as kept
