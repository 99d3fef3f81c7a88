-- Sends tasks of one lane with the same options, of which some may have been sent before. Takes effect for ids that
-- are new; an id that already lives is left alone and not returned. If the time in any id is more than a day away from
-- this clock, nothing is sent and those ids come back as far: an id leads to its partition of history, and
-- must not lead to one that is long gone or never made.
-- $1 ids, $2 arguments, $3 fingerprints, $4 lane, $5 delay in ms or null, $6 good_until, $7 redeliveries,
-- $8 retries or null, $9 keep input, $10 parent, $11 whether the commit is ours to make durable,
-- $12 whether `insert` may still arrive with the same ids
with durable as materialized (
    select case when $11 and current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end
),
due as materialized (
    select case when $5::bigint is null then null
        else clock_timestamp() + $5::bigint * interval '1 millisecond' end as run_at
    from durable
),
new as materialized (
    select * from unnest($1::uuid[], $2::bytea[], $3::bigint[]) as new (id, args, fingerprint)
),
near as materialized (
    -- The lowest ids of both instants. Written out: a function would be planned at every call.
    select
        (lpad(to_hex(now_ms - 86400000), 12, '0') || '00000000000000000000')::uuid as lowest,
        (lpad(to_hex(now_ms + 86400000), 12, '0') || '00000000000000000000')::uuid as highest
    from (select (date_part('epoch', clock_timestamp()) * 1000)::bigint as now_ms) clock
),
far as materialized (
    select new.id
    from new, near
    where new.id < near.lowest or new.id > near.highest
),
sent as (
    insert into hostler.task
        (id, args, fingerprint, lane, home, pos, run_at, good_until, redeliveries_max, max_retries, keep_input, parent)
    select
        new.id,
        new.args,
        new.fingerprint,
        case when due.run_at is null then $4 else 0 end,
        $4,
        case when due.run_at is null then nextval('hostler.position')
            else (extract(epoch from due.run_at) * 1000000)::bigint end,
        due.run_at,
        $6,
        $7,
        $8,
        $9,
        $10
    from due, new
    where not exists (select from far)
    on conflict (id) do nothing
    returning id
),
resent as (
    insert into hostler.resent (id)
    select id from sent where $12
    on conflict (id) do nothing
)
select id, false as far from sent
union all
select id, true from far
