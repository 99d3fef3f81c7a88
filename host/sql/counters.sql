-- What the server has counted so far, for a bench; read only. Transactions are those of this database.
select
    (pg_current_wal_insert_lsn() - '0/0')::float8 as wal_bytes,
    (
        select xact_commit + xact_rollback
        from pg_stat_database
        where datname = current_database()
    ) as transactions,
    pg_backend_pid() as pid,
    current_setting('server_version') as server_version
