-- The names that hosts published, for near misses; read only.
select name from hostler.kind where published_at is not null order by name
