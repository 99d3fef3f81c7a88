-- Whose transaction holds locks on hostler's tables, the oldest one; read only. No row comes back if nobody's does.
select
    a.pid,
    coalesce(nullif(a.application_name, ''), a.usename, 'somebody') as program,
    round(extract(epoch from clock_timestamp() - a.xact_start))::bigint as seconds
from pg_locks l
join pg_class c on c.oid = l.relation
join pg_namespace n on n.oid = c.relnamespace
join pg_stat_activity a on a.pid = l.pid
where n.nspname = 'hostler'
    and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    and a.pid <> pg_backend_pid()
order by a.xact_start
limit 1
