-- Makes a name known that no host has published, because a sender insists on it.
-- $1 name
with made as (
    insert into hostler.kind (name) values ($1) on conflict (name) do nothing returning id
)
select id from made
union all
select id from hostler.kind where name = $1
limit 1
