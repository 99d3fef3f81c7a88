-- After `fence`: the claims that did commit without the host learning of them, under a new number. What has
-- that number already was adopted by this very statement, whose answer was lost as well.
-- $1 session, $2 the number of the lost claim, $3 the new number
with mine as (
    select session from hostler.host where session = $1 and ended_at is null for key share
)
update hostler.task t
set claim = $3
from mine
where t.session = $1 and t.claim between $2 and $3
returning
    t.id, t.lane, t.pos, t.attempt, t.retries, t.redeliveries, t.releases, t.redeliveries_max,
    t.max_retries, t.good_until, t.claimed_at, t.previous_error, t.args
