-- What is done, for a bench; read only. Seconds from the first claim to the last end.
select
    count(*) filter (where status = 3 and outcome = 1 and result is not null) as completed,
    coalesce(extract(epoch from max(finished_at) - min(claimed_at)), 0)::float8 as seconds
from hostler.history
