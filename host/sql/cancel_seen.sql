-- A host has seen these cancels. One that came since, of a later claim of the same task, stays.
-- $1 session, then arrays: $2 tasks, $3 claims
delete from hostler.cancel c
using unnest($2::uuid[], $3::bigint[]) as seen (task, claim)
where c.session = $1 and c.task = seen.task and c.claim = seen.claim
