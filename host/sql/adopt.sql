-- After `fence`: the claims that did commit without the host learning of them, under a new number. What has
-- that number already was adopted by this very statement, whose answer was lost as well. It looks through one stretch
-- of the table, by pages. `next` is where the next stretch begins, or null; the other columns are those of a claim,
-- null if there is none.
-- $1 session, $2 the number of the lost claim, $3 the new number, $4 the first page, $5 pages
with durable as materialized (
    select case when current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end
),
mine as (
    select session from hostler.host, durable where session = $1 and ended_at is null for key share of host
),
adopted as (
    update hostler.task t
    set claim = $3
    from mine
    where t.session = $1
        and t.claim between $2 and $3
        and t.ctid >= ('(' || $4::bigint || ',0)')::tid
        and t.ctid < ('(' || $4::bigint + $5::bigint || ',0)')::tid
    returning
        t.id, t.lane, t.pos, t.attempt, t.retries, t.redeliveries, t.releases, t.redeliveries_max,
        t.max_retries, t.good_until, t.claimed_at, t.previous_error, t.args
)
select adopted.*, walked.next
from (
    select case
        when $4::bigint + $5::bigint < pg_relation_size('hostler.task') / current_setting('block_size')::bigint
            then $4::bigint + $5::bigint
    end as next
) walked
left join adopted on true
