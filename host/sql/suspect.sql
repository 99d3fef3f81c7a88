-- Writes down who is suspected and who is quarantined. Returns who was quarantined just now.
-- $1 how long a suspicion holds, in seconds, then arrays: $2 plugins, $3 whether quarantined, $4 reasons
with judged as materialized (
    select plugin, quarantined, reason
    from unnest($2::int[], $3::bool[], $4::text[]) as j (plugin, quarantined, reason)
    order by plugin
),
before as materialized (
    select plugin from hostler.suspect where quarantined_at is not null
),
written as (
    insert into hostler.suspect (plugin, suspect_until, quarantined_at, reason)
    select
        plugin,
        clock_timestamp() + $1::float8 * interval '1 second',
        case when quarantined then clock_timestamp() end,
        reason
    from judged
    on conflict (plugin) do update
    set suspect_until = excluded.suspect_until,
        quarantined_at = coalesce(suspect.quarantined_at, excluded.quarantined_at),
        reason = case when suspect.quarantined_at is null then excluded.reason else suspect.reason end
    returning plugin, quarantined_at, reason
)
select p.name, p.digest, w.reason
from written w
join hostler.plugin p on p.id = w.plugin
where w.quarantined_at is not null and w.plugin not in (select plugin from before)
