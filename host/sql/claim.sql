-- Claims tasks for a host and starts their attempts: at most $5, lanes in the order given, each lane
-- from its mark on. They come back as they were picked, without a promise. The host's row is locked against being
-- declared dead; a host that is already dead, or that has fenced this claim number off, gets nothing.
--
-- The commit is asynchronous unless a task among them must not be started once more after a crash of the
-- database: one that never starts twice, or one that was lost before.
-- $1 session, $2 claim number, $3 lanes, $4 their marks, $5 limit
with me as materialized (
    select session
    from hostler.host
    where session = $1 and ended_at is null and claim_floor <= $2
    for key share
),
picked as materialized (
    select due.place, due.once
    from me
    cross join unnest($3::int[], $4::bigint[]) as l (lane, mark)
    cross join lateral (
        select t.ctid as place, t.redeliveries_max = 0 or t.redeliveries > 0 as once
        from hostler.task t
        where t.lane = l.lane
            and t.pos > l.mark
            and t.session is null
            and (t.good_until is null or t.good_until > clock_timestamp())
        order by t.pos
        limit $5
        for update skip locked
    ) due
    limit $5
),
durability as materialized (
    -- A connection that claims is asynchronous already, as a rule: setting that once more costs as much as several rows.
    select
        case when must.wait <> (current_setting('synchronous_commit') <> 'off')
            then set_config('synchronous_commit', case when must.wait then 'on' else 'off' end, true) end as said,
        true as decided
    from (select exists (select from picked where once) as wait) must
)
update hostler.task t
set session = $1,
    claim = $2,
    claimed_at = clock_timestamp(),
    attempt = t.attempt + 1,
    progress = null,
    progress_note = null
-- Within each other, so that a claim that finds nothing does not wait for the disk either.
from durability, lateral (select place from picked where durability.decided offset 0) p
where t.ctid = p.place
returning
    t.id, t.lane, t.pos, t.attempt, t.retries, t.redeliveries, t.releases, t.redeliveries_max,
    t.max_retries, t.good_until, t.claimed_at, t.previous_error, t.args
