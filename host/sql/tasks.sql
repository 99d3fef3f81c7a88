-- The task names that were ever published, who serves them, and how much waits; read only.
select
    k.name,
    k.description,
    k.published_at,
    k.args_schema,
    k.result_schema,
    k.policy,
    (select count(distinct s.session) from hostler.serving s
        join hostler.host h on h.session = s.session and h.ended_at is null
        where s.kind = k.id) as hosts,
    (select count(*) from hostler.lane l join hostler.task t on t.home = l.id
        where l.kind = k.id and t.session is null) as pending,
    (select count(*) from hostler.lane l join hostler.task t on t.home = l.id
        where l.kind = k.id and t.session is not null) as running
from hostler.kind k
order by k.name
