-- Writes down what a host serves now, in place of what it served before, and since when it runs which code.
-- $1 session, $2 kinds, $3 their plugins
with gone as (
    delete from hostler.serving where session = $1 and kind <> all ($2::int[])
),
newest as (
    select distinct on (p.name) p.name, v.plugin
    from hostler.served v join hostler.plugin p on p.id = v.plugin
    where v.session = $1
    order by p.name, v.since desc
),
runs as (
    insert into hostler.served (session, plugin)
    select distinct $1::bigint, s.plugin
    from unnest($3::int[]) as s (plugin)
    where s.plugin not in (select plugin from newest)
),
now_served as (
    insert into hostler.serving (session, kind, plugin)
    select $1, s.kind, s.plugin
    from unnest($2::int[], $3::int[]) as s (kind, plugin)
    on conflict (session, kind) do update set plugin = excluded.plugin
    returning kind
)
select count(*) from now_served
