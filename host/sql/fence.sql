-- After a claim whose answer was lost: makes sure that it cannot commit late. Waits for one under way.
-- $1 session, $2 the lowest claim number that may still commit
with me as materialized (
    select session from hostler.host where session = $1 and ended_at is null for update
)
update hostler.host
set claim_floor = greatest(claim_floor, $2)
from me
where host.session = me.session
returning host.session
