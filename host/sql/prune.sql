-- Deletes what outlived its time outside the days' partitions, at most $2 rows of each kind: final tasks that
-- ended long after they were sent, with their attempts; keys of tasks that are gone; hosts that ended; notes of
-- repeated sends that cannot arrive any more. A task
-- stays as long as its key's window, and a host until recovery has looked through the whole table since its end and
-- left nothing behind.
-- $1 days to keep, $2 limit
with cutoff as materialized (
    select clock_timestamp() - $1::int * interval '1 day' as at
),
late as materialized (
    select h.id
    from hostler.history_default h, cutoff
    where h.finished_at < cutoff.at
        and not exists (
            select
            from hostler.key k
            where k.task = h.id and h.finished_at + k.window_seconds * interval '1 second' > clock_timestamp()
        )
    order by h.finished_at
    limit $2
),
tasks as (
    delete from hostler.history_default h
    using late
    where h.id = late.id
    returning h.id
),
attempts as (
    delete from hostler.attempt_default a
    using late
    where a.task = late.id
),
forgotten as materialized (
    select k.kind, k.key
    from hostler.key k, cutoff
    where k.taken_at + k.window_seconds * interval '1 second' < cutoff.at
        and not exists (select from hostler.task t where t.id = k.task)
        and not exists (select from hostler.history h where h.id = k.task)
    limit $2
    for update of k skip locked
),
keys as (
    delete from hostler.key k
    using forgotten f
    where k.kind = f.kind and k.key = f.key
    returning k.task
),
gone as materialized (
    select h.session
    from hostler.host h, cutoff, hostler.recovery r
    where h.ended_at < cutoff.at
        and h.ended_at < r.since - interval '1 second'
        and not r.left_some
    limit $2
    for update of h skip locked
),
hosts as (
    delete from hostler.host h
    using gone
    where h.session = gone.session
    returning h.session
),
resent as (
    delete from hostler.resent r
    using (
        -- Two days: a send of an id that is more than one day old is refused.
        select id
        from hostler.resent
        where id < hostler.id_floor(clock_timestamp() - interval '2 days')
        order by id
        limit $2
    ) old
    where r.id = old.id
)
select
    (select count(*) from tasks) as tasks,
    (select count(*) from keys) as keys,
    (select count(*) from hosts) as hosts
