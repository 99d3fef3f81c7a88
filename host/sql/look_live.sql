-- Where those of these tasks stand that are not final; read only. An id that is not returned is final or
-- unknown.
-- $1 ids
select
    id,
    (case when session is null then 1 else 2 end)::smallint as status,
    case when session is not null then progress end as progress,
    progress_note
from hostler.task
where id = any ($1::uuid[])
