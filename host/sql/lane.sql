-- The lane of a kind, queue and priority, made if it is missing. No row when another sender makes it at
-- this moment: ask again.
-- $1 kind, $2 queue, $3 priority
with made as (
    insert into hostler.lane (kind, queue, priority)
    select $1, $2, $3
    where not exists (select from hostler.lane where kind = $1 and queue = $2 and priority = $3)
    on conflict (kind, queue, priority) do nothing
    returning id
)
select id from made
union all
select id from hostler.lane where kind = $1 and queue = $2 and priority = $3
limit 1
