-- The recent deaths of hosts, each with the code that ran there, but for those that turned out to live; read only.
-- $1 how recent, in seconds
select
    s.plugin,
    s.session,
    (extract(epoch from h.started_at) * 1000000)::bigint as from_us,
    (extract(epoch from h.beat_at) * 1000000)::bigint as to_us
from hostler.strike s
join hostler.host h on h.session = s.session
where s.struck_at > clock_timestamp() - $1::float8 * interval '1 second' and not h.survived
