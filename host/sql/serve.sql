-- Writes down what a host serves now, in place of what it served before.
-- $1 session, $2 kinds, $3 their plugins
with gone as (
    delete from hostler.serving where session = $1 and kind <> all ($2::int[])
),
now_served as (
    insert into hostler.serving (session, kind, plugin)
    select $1, s.kind, s.plugin
    from unnest($2::int[], $3::int[]) as s (kind, plugin)
    on conflict (session, kind) do update set plugin = excluded.plugin
    returning kind
)
select count(*) from now_served
