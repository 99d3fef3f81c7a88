-- What the numbers in a task's row stand for: its name and place, its host, its code; and who serves it now. Read only.
-- $1 lane, $2 session or null, $3 plugin or null, $4 whether it runs
select
    k.name as task_name,
    l.queue,
    l.priority,
    k.policy,
    k.published_at is not null as published,
    h.hostname,
    h.pid,
    coalesce(p.name, sp.name) as plugin_name,
    coalesce(p.version, sp.version) as plugin_version,
    coalesce(p.digest, sp.digest) as plugin_digest,
    (select count(*) from hostler.serving s
        join hostler.host alive on alive.session = s.session and alive.ended_at is null
        where s.kind = l.kind) as hosts_serving
from hostler.lane l
join hostler.kind k on k.id = l.kind
left join hostler.host h on h.session = $2::bigint
left join hostler.plugin p on p.id = $3::int
left join hostler.serving s on s.session = $2::bigint and s.kind = l.kind and $4::boolean
left join hostler.plugin sp on sp.id = s.plugin
where l.id = $1::int
