-- What a check-up wants to know of the server, and what holds vacuum back the longest; read only. A transaction
-- without a snapshot and without a number of its own holds nothing back, however long it is open, and neither does
-- a vacuum. A standby and the slot of one hold back what its oldest query may still see; nothing tells since when, so
-- it counts what happened since: a slot that nobody uses is worth telling at once.
-- $1 seconds after which it is worth telling, $2 transactions after which it is
select
    current_setting('server_version') as server_version,
    (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us,
    array(
        (select format('%s, process %s%s, in a transaction for %s s: end it', what, pid, note, seconds)
        from (
            select
                coalesce(nullif(application_name, ''), usename, 'somebody') as what,
                pid,
                coalesce(' (' || state || ')', '') as note,
                round(extract(epoch from clock_timestamp() - xact_start)) as seconds
            from pg_stat_activity
            where xact_start <= clock_timestamp() - $1::int * interval '1 second'
                and (backend_xmin is not null or backend_xid is not null)
                and datname = current_database()
                and backend_type not in ('autovacuum worker', 'walsender')
                and pid <> pg_backend_pid()
            order by xact_start
            limit 3
        ) as holding)
        union all
        (select format('the prepared transaction %L for %s s: commit it or roll it back', gid,
            round(extract(epoch from clock_timestamp() - prepared)))
        from pg_prepared_xacts
        where prepared <= clock_timestamp() - $1::int * interval '1 second' and database = current_database()
        order by prepared
        limit 3)
        union all
        (select format('the replication slot %L, %s transactions ago%s', slot_name, age(xmin),
            case when active then ': see what its standby runs' else ', which nobody uses: drop it' end)
        from pg_replication_slots
        where xmin is not null and (not active or age(xmin) >= $2::int)
        order by age(xmin) desc
        limit 3)
        union all
        (select format('the standby %s, %s transactions ago: see what it runs',
            coalesce(nullif(application_name, ''), pid::text), age(backend_xmin))
        from pg_stat_replication
        where age(backend_xmin) >= $2::int
        order by age(backend_xmin) desc
        limit 3)
    ) as holding
