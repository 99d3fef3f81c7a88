-- What a check-up wants to know of the server, and who holds vacuum back the longest; read only. A transaction
-- without a snapshot and without a number of its own holds nothing back, however long it is open, and neither does
-- a vacuum.
-- $1 seconds after which it is worth telling
select
    current_setting('server_version') as server_version,
    (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us,
    array(
        select format('%s, process %s%s, in a transaction for %s s', what, pid, note, seconds)
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
                and backend_type <> 'autovacuum worker'
                and pid <> pg_backend_pid()
            order by xact_start
            limit 3
        ) as holding
    ) as holding
