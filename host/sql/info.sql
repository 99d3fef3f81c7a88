-- Everything in one task's row; read only. No row: unknown id. What its numbers stand for is a statement of its own,
-- `info_names`: the locks of both together would be more than the server keeps cheaply.
-- $1 id, $2 with result, $3 with arguments
select
    id, (case when session is null then 1 else 2 end)::smallint as status, home as lane, sent_at, run_at,
    good_until, null::timestamptz as finished_at, claimed_at, session, attempt, retries, redeliveries,
    releases, redeliveries_max, max_retries, cancel_requested, parent,
    case when session is not null then progress end as progress, progress_note,
    previous_error,
    null::smallint as outcome, null::int as plugin, null::int as cpu_ms, null::int as wall_ms,
    null::bigint as memory_bytes_peak, null::smallint as error_family, null::text as error_code,
    null::bytea as error, null::bytea as result, null::bytea as log_tail,
    case when $3 then args end as args, null::int as result_bytes
from hostler.task
where id = $1
union all
select
    id, status, lane, sent_at, run_at,
    good_until, finished_at, claimed_at, session, attempt, retries, redeliveries,
    releases, redeliveries_max, max_retries, false, parent, null, null,
    null,
    outcome, plugin, cpu_ms, wall_ms,
    memory_bytes_peak, error_family, error_code,
    error, case when $2 then result end, log_tail,
    case when $3 then args end, octet_length(result)
from hostler.history
where id = $1
