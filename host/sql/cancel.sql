-- Cancels one task, from anywhere. A PENDING task ends at once; a RUNNING one is marked, and its host told
-- through the table `cancel`. Returns the state it is in now and whether it was this call that ended it;
-- no row if nothing matched, which a move going on at the same time can also cause: then ask again.
-- A task that is final already, which must not be, is removed and leaves the first end as it is.
-- $1 id
with durable as materialized (
    select case when current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end
),
ended as (
    delete from hostler.task t
    using durable
    where t.id = $1 and t.session is null
    returning t.*
),
history as (
    insert into hostler.history
        (id, sent_at, finished_at, run_at, good_until, fingerprint, parent, lane, attempt, status, retries,
        redeliveries, releases, redeliveries_max, max_retries, args)
    select
        id, sent_at, clock_timestamp(), run_at, good_until, fingerprint, parent, home, attempt, 5, retries,
        redeliveries, releases, redeliveries_max, max_retries, case when keep_input then args end
    from ended
    on conflict (id) do nothing
    returning status
),
marked as (
    update hostler.task t
    set cancel_requested = true
    from durable
    where t.id = $1 and t.session is not null
    returning t.id, t.session, t.claim
),
told as (
    insert into hostler.cancel (session, task, claim)
    select session, id, claim
    from marked
    on conflict (session, task) do update set claim = excluded.claim
    returning session
)
select status, true as ended, null::bigint as session
from history
union all
select 2::smallint, false, session
from told
union all
select status, false, null::bigint
from hostler.history
where id = $1
