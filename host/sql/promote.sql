-- Moves tasks whose time has come from the waiting room to the end of their lanes; any host. Returns the
-- lanes that got tasks.
-- $1 limit
with due as materialized (
    select t.ctid as place
    from hostler.task t
    where t.lane = 0 and t.pos <= (extract(epoch from clock_timestamp()) * 1000000)::bigint
    order by t.pos
    limit $1
    for update skip locked
),
moved as (
    update hostler.task t
    set lane = t.home, pos = nextval('hostler.position')
    from due
    where t.ctid = due.place
    returning t.lane
)
select lane, count(*) as tasks
from moved
group by lane
