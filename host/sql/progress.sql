-- Writes how far running attempts are, each fenced by its claim. Ids are looked up as in `complete`.
-- $1 session, then arrays: $2 ids, $3 claims, $4 fractions, $5 notes
update hostler.task t
set progress = p.fraction, progress_note = p.note
from unnest($2::uuid[], $3::bigint[], $4::real[], $5::text[]) as p (id, claim, fraction, note)
where t.id = any (array[p.id]) and t.session = $1 and t.claim = p.claim
