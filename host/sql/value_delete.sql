-- Deletes a value for a running task; false: the claim is over.
-- $1 session, $2 task, $3 claim, $4 bucket, $5 key
select hostler.value_delete($1, $2, $3, $4, $5) as held
