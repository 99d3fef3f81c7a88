-- One task name as hosts published it; read only.
-- $1 name
select id, published_at is not null as published, args_schema, result_schema, policy
from hostler.kind
where name = $1
