-- RUNNING tasks of a live host that the host knows nothing of, in one stretch of a lane: a failover that lost what was
-- settled last, or a claim whose answer was lost in a way that nobody thought of. What a claim has taken keeps its
-- place in its lane, so they stand no further back than the host has ever claimed there. `next` is where the next
-- stretch begins, or null; the other columns are those of a claim, null if there is no stray.
-- $1 session, $2 the highest claim number whose tasks have all begun, $3 the tasks that the host acts on, $4 lane,
-- $5 the position behind which the stretch begins, $6 the one it ends with at the latest, $7 its rows
with stretch as materialized (
    select t.ctid as place, t.id, t.pos, t.session, t.claim
    from hostler.task t
    where t.lane = $4 and t.pos > $5 and t.pos <= $6
    order by t.pos
    fetch first ($7) rows with ties
)
select
    t.id, t.lane, t.pos, t.attempt, t.retries, t.redeliveries, t.releases, t.redeliveries_max,
    t.max_retries, t.good_until, t.claimed_at, t.previous_error, t.args, t.claim, walked.next
from (select case when count(*) >= $7 then max(pos) end as next from stretch) walked
left join stretch s on s.session = $1 and s.claim <= $2 and s.id <> all ($3::uuid[])
left join hostler.task t on t.ctid = s.place
