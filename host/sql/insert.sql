-- Sends tasks of one lane with the same options, whose ids nobody has seen before; client only. An id that lives is an
-- error, which costs less than looking for it: a third of the statement. So is one that `insert_again` sent while this
-- statement was on its way, whatever became of it since. Writes nothing and returns 0 if the time in any id is more
-- than a day away from this clock; `insert_again` then says which.
-- $1 ids, $2 arguments, $3 fingerprints, $4 lane, $5 delay in ms or null, $6 good_until, $7 redeliveries,
-- $8 retries or null, $9 keep input, $10 parent, $11 whether the commit is ours to make durable
with durable as materialized (
    select case when $11 and current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end
),
due as materialized (
    select case when $5::bigint is null then null
        else clock_timestamp() + $5::bigint * interval '1 millisecond' end as run_at
    from durable
),
near as materialized (
    -- The lowest ids of both instants. Written out: a function would be planned at every call.
    select
        (lpad(to_hex(now_ms - 86400000), 12, '0') || '00000000000000000000')::uuid as lowest,
        (lpad(to_hex(now_ms + 86400000), 12, '0') || '00000000000000000000')::uuid as highest
    from (select (date_part('epoch', clock_timestamp()) * 1000)::bigint as now_ms) clock
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
    from due, (
        select unnest($1::uuid[]) as id, unnest($2::bytea[]) as args, unnest($3::bigint[]) as fingerprint
    ) new
    where not exists (
        select
        from unnest($1::uuid[]) as far (id), near
        where far.id < near.lowest or far.id > near.highest
    )
    returning id
)
-- All rows first, then the question.
select hostler.never_resent(array_agg(id)) as sent from sent
