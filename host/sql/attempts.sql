-- The closed attempts of one task but for the one folded into its history row, newest first; read only.
-- $1 id
select
    a.number, a.outcome, a.claimed_at, a.finished_at, a.cpu_ms, a.wall_ms, a.memory_bytes_peak,
    a.error_family, a.error_code, a.error, a.log_tail, a.session, h.hostname, h.pid,
    p.name as plugin_name, p.version as plugin_version, p.digest as plugin_digest
from hostler.attempt a
left join hostler.host h on h.session = a.session
left join hostler.plugin p on p.id = a.plugin
where a.task = $1
order by a.number desc
