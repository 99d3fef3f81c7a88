-- Adds to the number under a key for a running task: `said` as of value_set; 4 it is no number, 5 too large a sum.
-- $1 session, $2 task, $3 claim, $4 bucket, $5 key, $6 delta in digits, $7 at most so many keys, $8 of so many bytes
select said, sum::text as sum
from hostler.value_add($1, $2, $3, $4, $5, $6::numeric, $7, $8)
