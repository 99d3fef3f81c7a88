-- Writers of values wait for their bucket before they lock their task and their host. Whoever wants to cancel the task, or
-- to declare the host dead, waited with them otherwise.

-- Keeps a value for a running task. 0: kept, 1: the claim is over, 2: too many keys, 3: too many bytes.
create or replace function hostler.value_set(
    session bigint,
    task uuid,
    claim bigint,
    bucket text,
    key text,
    value bytea,
    keys_max int,
    bytes_max bigint
) returns int
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    held hostler.bucket;
    before bigint;
    after bigint := octet_length(value_set.key) + octet_length(value_set.value);
begin
    insert into hostler.bucket (name) values (value_set.bucket) on conflict (name) do nothing;
    select b.* into held from hostler.bucket b where b.name = value_set.bucket for update;
    if not hostler.holds(value_set.session, value_set.task, value_set.claim) then
        return 1;
    end if;
    -- With a snapshot after the lock: what a writer before this one did is seen.
    select octet_length(v.key) + octet_length(v.value) into before
    from hostler.value v
    where v.bucket = value_set.bucket and v.key = value_set.key;
    if before is null and held.keys >= value_set.keys_max then
        return 2;
    end if;
    if held.bytes - coalesce(before, 0) + after > value_set.bytes_max and after > coalesce(before, 0) then
        return 3;
    end if;
    insert into hostler.value as v (bucket, key, value)
    values (value_set.bucket, value_set.key, value_set.value)
    on conflict (bucket, key) do update set value = excluded.value;
    update hostler.bucket b
    set keys = b.keys + case when before is null then 1 else 0 end,
        bytes = b.bytes - coalesce(before, 0) + after
    where b.name = value_set.bucket;
    return 0;
end
$$;

-- Deletes a value for a running task; false: the claim is over.
create or replace function hostler.value_delete(session bigint, task uuid, claim bigint, bucket text, key text) returns boolean
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    before bigint;
begin
    perform from hostler.bucket b where b.name = value_delete.bucket for update;
    if not hostler.holds(value_delete.session, value_delete.task, value_delete.claim) then
        return false;
    end if;
    delete from hostler.value v
    where v.bucket = value_delete.bucket and v.key = value_delete.key
    returning octet_length(v.key) + octet_length(v.value) into before;
    if before is not null then
        update hostler.bucket b set keys = b.keys - 1, bytes = b.bytes - before where b.name = value_delete.bucket;
    end if;
    return true;
end
$$;

-- Adds to a number, kept as its decimal digits; one that is not there is 0. `said` as of value_set; 4: it is no
-- number, 5: the sum has more than 64 bits.
create or replace function hostler.value_add(
    session bigint,
    task uuid,
    claim bigint,
    bucket text,
    key text,
    delta numeric,
    keys_max int,
    bytes_max bigint,
    out said int,
    out sum numeric
)
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    before bytea;
begin
    insert into hostler.bucket (name) values (value_add.bucket) on conflict (name) do nothing;
    perform from hostler.bucket b where b.name = value_add.bucket for update;
    if not hostler.holds(value_add.session, value_add.task, value_add.claim) then
        said := 1;
        return;
    end if;
    select v.value into before from hostler.value v where v.bucket = value_add.bucket and v.key = value_add.key;
    if encode(before, 'escape') !~ '^[0-9]{1,20}$' then
        said := 4;
        return;
    end if;
    sum := coalesce(encode(before, 'escape')::numeric, 0) + value_add.delta;
    if sum > 18446744073709551615 then
        said := 5;
        return;
    end if;
    said := hostler.value_set(value_add.session, value_add.task, value_add.claim, value_add.bucket, value_add.key,
        convert_to(sum::text, 'UTF8'), value_add.keys_max, value_add.bytes_max);
end
$$;
