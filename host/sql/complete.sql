-- Writes verdicts of attempts that completed: what `settle` does for these, which are most of all, in three quarters of
-- its time. One row comes back for each task that was still held by its claim.
--
-- `= any (array[…])` is how an id is looked up: planned while the table is as good as empty, a join by `=` may read all of
-- its index for each row of the batch, and goes on so when the table has grown.
-- $1 session, then one array each: $2 id, $3 claim, $4 result, $5 cpu ms, $6 wall ms, $7 peak memory, $8 plugin,
-- $9 log tail
with durable as materialized (
    select case when current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end
),
me as materialized (
    select session, clock_timestamp() as now
    from hostler.host, durable
    where session = $1 and ended_at is null
    for key share of host
),
ended as (
    delete from hostler.task t
    using (
        -- Within `from`, each array would be written down as a set of its own first.
        select
            me.now,
            unnest($2::uuid[]) as id,
            unnest($3::bigint[]) as claim,
            unnest($4::bytea[]) as result,
            unnest($5::int[]) as cpu_ms,
            unnest($6::int[]) as wall_ms,
            unnest($7::bigint[]) as memory_bytes_peak,
            unnest($8::int[]) as plugin,
            unnest($9::bytea[]) as log_tail
        from me
    ) v
    where t.id = any (array[v.id])
        and t.session = $1
        and t.claim = v.claim
    returning
        t.id, t.sent_at, t.run_at, t.good_until, t.fingerprint, t.parent, t.claimed_at, t.home, t.attempt,
        t.retries, t.redeliveries, t.releases, t.redeliveries_max, t.max_retries,
        case when t.keep_input then t.args end as args,
        v.now, v.result, v.cpu_ms, v.wall_ms, v.memory_bytes_peak, v.plugin, v.log_tail
)
insert into hostler.history
    (id, sent_at, finished_at, run_at, good_until, fingerprint, parent, session, claimed_at,
    memory_bytes_peak, lane, attempt, plugin, cpu_ms, wall_ms, status, outcome, retries, redeliveries,
    releases, redeliveries_max, max_retries, result, log_tail, args)
select
    id, sent_at, now, run_at, good_until, fingerprint, parent, $1, claimed_at,
    memory_bytes_peak, home, attempt, plugin, cpu_ms, wall_ms, 3, 1, retries, redeliveries,
    releases, redeliveries_max, max_retries, result, log_tail, args
from ended
returning id
