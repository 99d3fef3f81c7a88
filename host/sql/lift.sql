-- Lets code run again, and forgets what it was suspected of.
-- $1 a plugin's name, or the beginning of a digest
with chosen as materialized (
    select p.id, p.name, p.digest
    from hostler.plugin p
    join hostler.suspect s on s.plugin = p.id
    where p.name = $1 or (length($1) >= 6 and starts_with(p.digest, $1))
),
strikes as (
    delete from hostler.strike k using chosen where k.plugin = chosen.id
),
lifted as (
    delete from hostler.suspect s using chosen where s.plugin = chosen.id returning s.plugin
)
select chosen.name, chosen.digest
from chosen join lifted on lifted.plugin = chosen.id
order by chosen.name, chosen.digest
