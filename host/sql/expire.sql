-- Ends tasks whose `good_until` passed before an attempt could start; any host. Returns their ids, without those
-- that are final already, which must not be: they are removed, and their first end stays as it is.
-- $1 limit
with late as materialized (
    select t.ctid as place
    from hostler.task t
    where t.good_until <= clock_timestamp() and t.session is null
    order by t.good_until
    limit $1
    for update skip locked
),
ended as (
    delete from hostler.task t
    using late
    where t.ctid = late.place
    returning t.*
)
insert into hostler.history
    (id, sent_at, finished_at, run_at, good_until, fingerprint, parent, lane, attempt, status, retries,
    redeliveries, releases, redeliveries_max, max_retries, args)
select
    id, sent_at, clock_timestamp(), run_at, good_until, fingerprint, parent, home, attempt, 6, retries,
    redeliveries, releases, redeliveries_max, max_retries, case when keep_input then args end
from ended
on conflict (id) do nothing
returning id
