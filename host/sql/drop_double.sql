-- Removes a task that is final already, which must not be: its first end stays as it is. Fenced as a settle is; no row
-- if it is not so.
-- $1 session, $2 id, $3 claim
with me as materialized (
    select session
    from hostler.host
    where session = $1 and ended_at is null
    for key share of host
)
delete from hostler.task t
using me
where t.id = $2
    and t.session = $1
    and t.claim = $3
    and exists (select from hostler.history h where h.id = $2)
returning t.id
