-- Writes verdicts, each fenced by its own claim, and closes the attempts. One row comes back for each
-- task that was still held by its claim: its new state, and its place if it waits. A task that somebody
-- asked to cancel is neither retried nor released: it is cancelled. Ids are looked up as in `complete`.
-- $1 session, then one array each: $2 id, $3 claim, $4 verdict (1 complete, 2 fail, 3 retry, 4 cancel,
-- 5 expire, 6 release, 7 postpone), $5 result, $6 error family, $7 error code, $8 error, $9 pause in ms, $10 cpu ms,
-- $11 wall ms, $12 peak memory, $13 plugin, $14 log tail
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
verdict as materialized (
    select
        me.now,
        unnest($2::uuid[]) as id,
        unnest($3::bigint[]) as claim,
        unnest($4::smallint[]) as verdict,
        unnest($5::bytea[]) as result,
        unnest($6::smallint[]) as error_family,
        unnest($7::text[]) as error_code,
        unnest($8::bytea[]) as error,
        unnest($9::bigint[]) as pause_ms,
        unnest($10::int[]) as cpu_ms,
        unnest($11::int[]) as wall_ms,
        unnest($12::bigint[]) as memory_bytes_peak,
        unnest($13::int[]) as plugin,
        unnest($14::bytea[]) as log_tail
    from me
),
ended as (
    delete from hostler.task t
    using verdict v
    where t.id = any (array[v.id])
        and t.session = $1
        and t.claim = v.claim
        and (v.verdict in (1, 2, 4, 5) or t.cancel_requested)
    returning
        t.id, t.sent_at, t.run_at, t.good_until, t.fingerprint, t.parent, t.claimed_at, t.home, t.attempt,
        t.retries, t.redeliveries, t.releases, t.redeliveries_max, t.max_retries,
        case when t.keep_input then t.args end as args,
        v.now, v.verdict, v.result, v.error_family, v.error_code, v.error, v.cpu_ms, v.wall_ms,
        v.memory_bytes_peak, v.plugin, v.log_tail
),
history as (
    insert into hostler.history
        (id, sent_at, finished_at, run_at, good_until, fingerprint, parent, session, claimed_at,
        memory_bytes_peak, lane, attempt, plugin, cpu_ms, wall_ms, status, outcome, retries, redeliveries,
        releases, redeliveries_max, max_retries, error_family, error_code, error, result, log_tail, args)
    select
        id, sent_at, now, run_at, good_until, fingerprint, parent, $1, claimed_at,
        memory_bytes_peak, home, attempt, plugin, cpu_ms, wall_ms,
        case verdict when 1 then 3 when 2 then 4 when 5 then 6 else 5 end,
        case verdict when 1 then 1 when 2 then 2 when 3 then 2 when 4 then 3 else 4 end,
        retries, redeliveries, releases, redeliveries_max, max_retries,
        error_family, error_code, error, result, log_tail, args
    from ended
    returning id, status
),
again as (
    update hostler.task t
    set session = null,
        claim = null,
        claimed_at = null,
        lane = case v.verdict when 3 then 0 else t.lane end,
        pos = case v.verdict
            when 3 then (extract(epoch from v.now + v.pause_ms * interval '1 millisecond') * 1000000)::bigint
            else t.pos end,
        run_at = case v.verdict when 3 then v.now + v.pause_ms * interval '1 millisecond' else t.run_at end,
        retries = t.retries + case v.verdict when 3 then 1 else 0 end,
        releases = t.releases + case v.verdict when 6 then 1 else 0 end,
        previous_error = coalesce(v.error_code, t.previous_error)
    from verdict v, lateral (select t2.claimed_at from hostler.task t2 where t2.id = any (array[v.id])) was
    where t.id = any (array[v.id])
        and t.session = $1
        and t.claim = v.claim
        and v.verdict in (3, 6, 7)
        and not t.cancel_requested
    returning
        t.id, t.attempt, t.lane, t.pos, was.claimed_at as started_at, v.now, v.verdict, v.error_family,
        v.error_code, v.error, v.cpu_ms, v.wall_ms, v.memory_bytes_peak, v.plugin, v.log_tail
),
closed as (
    insert into hostler.attempt
        (task, number, session, claimed_at, finished_at, outcome, plugin, cpu_ms, wall_ms,
        memory_bytes_peak, error_family, error_code, error, log_tail)
    select
        id, attempt, $1, started_at, now, case verdict when 3 then 2 else 4 end, plugin, cpu_ms, wall_ms,
        memory_bytes_peak, error_family, error_code, error, log_tail
    from again
    returning task
)
select id, status, null::int as lane, null::bigint as pos
from history
union all
select again.id, 1::smallint, lane, pos
from again, closed
where again.id = closed.task
