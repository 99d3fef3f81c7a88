-- A host that was declared dead lives: its end is no strike against anybody. Who is under suspicion for it is to
-- be judged again.
-- $1 session
with lives as (
    update hostler.host set survived = true where session = $1 returning session
)
delete from hostler.suspect s
using lives, hostler.strike k
where k.session = lives.session and s.plugin = k.plugin
