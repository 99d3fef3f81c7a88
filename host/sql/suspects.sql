-- The code that is quarantined or suspected, for a list; read only.
select
    p.name, p.version, p.digest, s.quarantined_at, s.reason,
    (select count(*)
        from hostler.kind k
        join hostler.lane l on l.kind = k.id
        join hostler.task t on t.home = l.id
        where k.name like replace(p.name, '_', '\_') || '.%' and t.session is null) as waiting
from hostler.suspect s
join hostler.plugin p on p.id = s.plugin
where s.quarantined_at is not null or s.suspect_until > clock_timestamp()
order by p.name, p.digest
