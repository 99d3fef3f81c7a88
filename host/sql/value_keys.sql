-- At most $3 keys of a bucket, in the order in which they were first written, from after a place on.
-- $1 bucket, $2 place, $3 how many
select key, id
from hostler.value
where bucket = $1 and id > $2
order by id
limit $3
