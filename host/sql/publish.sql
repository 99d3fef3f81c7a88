-- Publishes what a plugin offers; a host, at each load of new code. Names in order, so that two hosts
-- that load the same plugins do not lock each other out.
-- $1 plugin name, $2 version, $3 digest, then arrays: $4 full task names, $5 descriptions, $6 schemas of
-- arguments, $7 schemas of results, $8 policies
with code as (
    insert into hostler.plugin (name, version, digest)
    values ($1, $2, $3)
    on conflict (digest) do update set version = excluded.version
    returning id
),
kinds as (
    insert into hostler.kind (name, published_at, description, args_schema, result_schema, policy)
    select t.name, clock_timestamp(), t.description, t.args_schema, t.result_schema, t.policy
    from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
        as t (name, description, args_schema, result_schema, policy)
    order by t.name
    on conflict (name) do update
    set published_at = excluded.published_at,
        description = excluded.description,
        args_schema = excluded.args_schema,
        result_schema = excluded.result_schema,
        policy = excluded.policy
    returning id, name
),
-- The lane that most sends use, so that a first send inside somebody's long transaction does not keep the
-- others waiting for the lane it makes.
lanes as (
    insert into hostler.lane (kind, queue, priority)
    select id, 'default', 50
    from kinds
    order by id
    on conflict (kind, queue, priority) do nothing
)
select code.id as plugin, kinds.id as kind, kinds.name
from code, kinds
