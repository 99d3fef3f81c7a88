-- Forgets at most $1 families none of whose tasks lives: nobody is left who could send another one.
with over as materialized (
    select f.root
    from hostler.family f
    where not exists (select from hostler.task t where t.id = f.root)
        and not exists (
            select from hostler.child c
            join hostler.task t on t.id = c.task
            where c.root = f.root
        )
    limit $1
    for update of f skip locked
),
children as (
    delete from hostler.child c
    using over
    where c.root = over.root
    returning c.task
),
families as (
    delete from hostler.family f
    using over
    where f.root = over.root
    returning f.root
)
select count(*) as swept, (select count(*) from children) as children
from families
