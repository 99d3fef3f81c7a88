-- What an attempt of this task kept under this name.
-- $1 task, $2 name
select value
from hostler.checkpoint
where task = $1 and name = $2
