-- Which of the claims that a host acts on are not on record: those that were lost in a crash of the database, or
-- settled meanwhile. Ids are looked up as in `complete`.
-- $1 session, $2 tasks, $3 their claims
select held.id, held.claim
from unnest($2::uuid[], $3::bigint[]) as held (id, claim)
where not exists (
    select from hostler.task t where t.id = any (array[held.id]) and t.session = $1 and t.claim = held.claim
)
