-- The hosts that are alive, and with $1 also those that ended in the last day; read only.
select
    h.session, h.hostname, h.pid, h.version, h.started_at, h.beat_at, h.ended_at, h.lost, h.draining,
    h.slots, h.running, h.queues, h.lease_ms,
    extract(epoch from clock_timestamp() - h.beat_at)::float8 as beat_age_seconds,
    coalesce((
        select array_agg(distinct p.name || ' ' || p.version || ' ' || left(p.digest, 12))
        from hostler.serving s join hostler.plugin p on p.id = s.plugin
        where s.session = h.session
    ), '{}') as plugins
from hostler.host h
where h.ended_at is null or ($1 and h.ended_at > clock_timestamp() - interval '1 day')
order by h.started_at
