-- RUNNING tasks of a live host that the host knows nothing of: a failover that lost what was settled last, or a
-- claim whose answer was lost in a way that nobody thought of. Their columns are those of a claim. Reads all live
-- rows: asked after a lost connection, and never in the hot loop.
-- $1 session, $2 the highest claim number whose tasks have all begun, $3 the tasks that the host acts on
select
    t.id, t.lane, t.pos, t.attempt, t.retries, t.redeliveries, t.releases, t.redeliveries_max,
    t.max_retries, t.good_until, t.claimed_at, t.previous_error, t.args, t.claim
from hostler.task t
where t.session = $1 and t.claim <= $2 and t.id <> all ($3::uuid[])
