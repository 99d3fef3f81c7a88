-- Deletes at most $1 steps of tasks that ended.
with over as materialized (
    select c.task, c.name
    from hostler.checkpoint c
    where not exists (select from hostler.task t where t.id = c.task)
    limit $1
    for update of c skip locked
),
swept as (
    delete from hostler.checkpoint c
    using over
    where c.task = over.task and c.name = over.name
    returning c.task
)
select count(*) as swept
from swept
