-- Takes tasks back from sessions that are no longer alive: closes their attempts as WORKER_FAILURE and
-- requeues them in front, or ends them. The lost host is on record against the code of each attempt. A task that is
-- final already, or an attempt that is on record, neither of which must be, stands in nobody's way: what was written
-- first stays.
--
-- It looks through one stretch of the table, by pages: wherever a row stands it is found, and no walk is longer the more
-- tasks wait. `hostler.recovery` says where the next stretch begins. No row comes back if another host is at it just
-- now, or if no look is due. What is locked is skipped, and looked for again after a second. `whole`: this stretch was
-- the last one of the table.
-- $1 limit of tasks, $2 pages, $3 ms after which a look is due in any case, in a table of up to 10,000 pages
with cursor as materialized (
    select r.*, pg_relation_size('hostler.task') / current_setting('block_size')::bigint as pages
    from hostler.recovery r
    where hostler.recovery_due(r, $3::bigint * interval '1 millisecond')
    for update of r skip locked
),
alive as materialized (
    select session from hostler.host where ended_at is null
),
seen as materialized (
    select t.ctid as place, t.session, t.claim
    from hostler.task t
    where t.ctid >= ('(' || (select page from cursor) || ',0)')::tid
        and t.ctid < ('(' || (select page from cursor) + $2::bigint || ',0)')::tid
        and t.session is not null
        and t.session not in (select session from alive)
    limit $1
),
lost as materialized (
    select
        t.ctid as place,
        clock_timestamp() as now,
        case
            when t.cancel_requested then 5
            when t.redeliveries >= t.redeliveries_max then 4
            else 1
        end as status,
        t.session,
        (select v.plugin
            from hostler.lane l
            join hostler.kind k on k.id = l.kind
            join hostler.plugin p on p.name = split_part(k.name, '.', 1)
            join hostler.served v on v.session = t.session and v.plugin = p.id
            where l.id = t.home and v.since <= t.claimed_at
            order by v.since desc
            limit 1) as plugin
    from seen s
    join hostler.task t on t.ctid = s.place
    where t.session = s.session and t.claim = s.claim
    for update of t skip locked
),
struck as (
    insert into hostler.strike (plugin, session)
    select distinct plugin, session
    from lost
    where plugin is not null
    on conflict do nothing
),
ended as (
    delete from hostler.task t
    using lost
    where t.ctid = lost.place and lost.status <> 1
    returning t.*, lost.now, lost.status, lost.plugin
),
history as (
    insert into hostler.history
        (id, sent_at, finished_at, run_at, good_until, fingerprint, parent, session, claimed_at, lane,
        attempt, plugin, status, outcome, retries, redeliveries, releases, redeliveries_max, max_retries,
        error_family, error_code, error, args)
    select
        id, sent_at, now, run_at, good_until, fingerprint, parent, session, claimed_at, home,
        attempt, plugin, status, 5, retries, redeliveries, releases, redeliveries_max, max_retries,
        case status when 4 then 3 end,
        case status when 4 then 'WORKER_CRASHED' end,
        case status when 4 then convert_to(json_build_object(
            'message', format('the host running attempt %s was lost; the task survives %s lost hosts', attempt,
                redeliveries_max))::text, 'UTF8') end,
        case when keep_input then args end
    from ended
    on conflict (id) do nothing
    returning id, status
),
again as (
    update hostler.task t
    set session = null,
        claim = null,
        claimed_at = null,
        redeliveries = t.redeliveries + 1,
        previous_error = 'WORKER_CRASHED'
    from lost, lateral (
        select t2.claimed_at from hostler.task t2 where t2.ctid = lost.place
    ) was
    where t.ctid = lost.place and lost.status = 1
    returning t.id, t.lane, t.pos, t.attempt, lost.session, lost.plugin, was.claimed_at, lost.now
),
closed as (
    insert into hostler.attempt
        (task, number, session, claimed_at, finished_at, plugin, outcome, error_family, error_code, error)
    select
        id, attempt, session, claimed_at, now, plugin, 5, 3, 'WORKER_CRASHED',
        convert_to('{"message":"the host running this attempt was lost"}', 'UTF8')
    from again
    on conflict (task, number) do nothing
    returning task
),
did as materialized (
    select
        c.*,
        seen.n > done.n as missed,
        seen.n >= $1 and done.n > 0 as again,
        c.page + $2::bigint >= c.pages as last,
        case when c.page = 0 then statement_timestamp() else c.began_at end as pass_began_at,
        c.page > 0 and c.skipped as pass_skipped
    from cursor c,
        (select count(*) as n from seen) seen,
        (select (select count(*) from history) + (select count(*) from closed) as n) done
),
walked as (
    update hostler.recovery r
    set page = case when d.again then d.page when d.last then 0 else d.page + $2::bigint end,
        began_at = d.pass_began_at,
        skipped = d.pass_skipped or (d.missed and not d.again),
        since = case when d.last and not d.again then d.pass_began_at else d.since end,
        left_some = case when d.last and not d.again then d.pass_skipped or d.missed else d.left_some end,
        walked_pages = case when d.last and not d.again then d.pages else d.walked_pages end
    from did d
    where r.one = d.one
    returning d.last and not d.again as whole
),
durability as materialized (
    select case
        when exists (select from lost)
            then case when current_setting('synchronous_commit') = 'off'
                then set_config('synchronous_commit', 'on', true) end
        else set_config('synchronous_commit', 'off', true)
    end
)
select walked.whole, back.id, back.status, back.lane, back.pos
from walked
cross join durability
left join (
    select id, status, null::int as lane, null::bigint as pos from history
    union all
    select again.id, 1::smallint, again.lane, again.pos from again, closed where again.id = closed.task
) back on true
