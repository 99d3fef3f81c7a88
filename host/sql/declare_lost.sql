-- Declares a host dead whose beat stood still. The lock waits for nobody: while a claim or a settle of
-- that host is under way it skips, and the judge comes back.
-- $1 session, $2 the beat that was seen
with silent as materialized (
    select session
    from hostler.host
    where session = $1 and beat = $2 and ended_at is null
    for update skip locked
)
update hostler.host
set ended_at = clock_timestamp(), lost = true
from silent
where host.session = silent.session
returning host.session
