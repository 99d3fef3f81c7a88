-- A host leaves by itself, holding nothing any more.
-- $1 session
with left_now as (
    update hostler.host
    set ended_at = clock_timestamp(), running = 0
    where session = $1 and ended_at is null
    returning session
),
unserved as (
    delete from hostler.serving where session = $1
),
told as (
    delete from hostler.cancel where session = $1
)
select session from left_now
