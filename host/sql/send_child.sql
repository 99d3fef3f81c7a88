-- Sends a task from a running one, fenced by its claim. No row: the claim is over; `said` is why nothing was sent.
-- $1 session, $2 the sending task, $3 claim, $4 task, $5 arguments, $6 key or null, $7 delay in ms or null,
-- $8 greatest depth, $9 at most so many in a family
select id, lane, said
from hostler.send_child($1, $2, $3, $4, $5, $6, $7, $8, $9)
