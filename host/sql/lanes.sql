-- The lanes that hold tasks of these kinds in these queues; read only.
-- $1 session, $2 queues or null for all
select l.id, k.name, l.priority
from hostler.lane l
join hostler.kind k on k.id = l.kind
join hostler.serving s on s.kind = l.kind and s.session = $1
where $2::text[] is null or l.queue = any ($2)
order by l.priority, l.id
