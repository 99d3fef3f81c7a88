-- Where these tasks stand, and the result of those that are final; read only. An id that is not returned
-- is unknown.
-- $1 ids
select
    id,
    (case when session is null then 1 else 2 end)::smallint as status,
    null::smallint as error_family,
    null::text as error_code,
    null::bytea as error,
    null::bytea as result,
    case when session is not null then progress end as progress,
    progress_note
from hostler.task
where id = any ($1::uuid[])
union all
select id, status, error_family, error_code, error, result, null, null
from hostler.history
where id = any ($1::uuid[])
