-- The value under a key of a bucket.
-- $1 bucket, $2 key
select value
from hostler.value
where bucket = $1 and key = $2
