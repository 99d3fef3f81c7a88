-- Keeps a value for a running task: 0 kept, 1 the claim is over, 2 too many keys, 3 too many bytes.
-- $1 session, $2 task, $3 claim, $4 bucket, $5 key, $6 value, $7 at most so many keys, $8 of so many bytes in all
select hostler.value_set($1, $2, $3, $4, $5, $6, $7, $8) as said
