-- What guests may reach beyond their own task: other tasks, and values that outlive it.

-- Tasks that tasks sent. The first one of a family came from outside and has no row. A row goes when nothing of its
-- family lives any more: until then it is what bounds the family.
create table hostler.child (
    task uuid primary key,
    parent uuid not null,
    root uuid not null,
    -- 1 for what the first one sent.
    depth int not null,
    -- What the parent calls it: sent again under it, it is the same task.
    key text,
    -- Of task and arguments.
    fingerprint bytea not null,
    unique (parent, key)
);
create index child_by_root on hostler.child (root);

-- How many tasks were ever sent within a family, counted under one lock.
create table hostler.family (
    root uuid primary key,
    sent int not null
);

-- Buckets of values, with what is in them. Their names are one set for the whole database.
create table hostler.bucket (
    name text primary key,
    keys int not null default 0,
    bytes bigint not null default 0
);
create table hostler.value (
    bucket text not null,
    key text collate "C" not null,
    -- Where a listing goes on.
    id bigint generated always as identity,
    value bytea not null,
    primary key (bucket, key)
);
create index value_by_id on hostler.value (bucket, id);

-- Whether a session holds a task by this claim, and makes the transaction durable. While it goes on, the claim can
-- neither be settled nor its host be declared dead.
create function hostler.holds(session bigint, task uuid, claim bigint) returns boolean
    language plpgsql volatile
as $$
begin
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    perform from hostler.host h where h.session = holds.session and h.ended_at is null for key share;
    if not found then
        return false;
    end if;
    perform from hostler.task t
    where t.id = holds.task and t.session = holds.session and t.claim = holds.claim
    for share;
    return found;
end
$$;

-- Sends a task from a running one, into the same queue and with the same priority. No row: the claim is over.
-- `said` is why nothing was sent, for the guest.
create function hostler.send_child(
    session bigint,
    parent uuid,
    claim bigint,
    task text,
    args text,
    key text,
    delay_ms bigint,
    depth_max int,
    family_max int,
    out id uuid,
    out lane int,
    out said text
) returns setof record
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    mark bytea := sha256(convert_to(send_child.task || chr(31) || send_child.args, 'UTF8'));
    place record;
    known record;
    first_one uuid;
    nth int;
    due interval := send_child.delay_ms * interval '1 millisecond';
begin
    if not hostler.holds(send_child.session, send_child.parent, send_child.claim) then
        return;
    end if;
    if send_child.key is not null then
        select c.task, c.fingerprint into known
        from hostler.child c
        where c.parent = send_child.parent and c.key = send_child.key;
        if found then
            id := known.task;
            if known.fingerprint <> mark then
                said := format('KEY_CONFLICT: this task sent another command as %L before, task %s',
                    send_child.key, known.task);
            end if;
            return next;
            return;
        end if;
    end if;

    select l.queue, l.priority into place
    from hostler.task t
    join hostler.lane l on l.id = t.home
    where t.id = send_child.parent;
    select c.root, c.depth + 1 into first_one, nth from hostler.child c where c.task = send_child.parent;
    first_one := coalesce(first_one, send_child.parent);
    nth := coalesce(nth, 1);
    if nth > send_child.depth_max then
        said := format('TOO_DEEP: the new task would be %s sends away from the one that began, depth_max is %s',
            nth, send_child.depth_max);
        return next;
        return;
    end if;

    begin
        insert into hostler.family as f (root, sent) values (first_one, 1)
        on conflict (root) do update set sent = f.sent + 1 where f.sent < send_child.family_max;
        if not found then
            said := format('TOO_MANY: the task that began, %s, led to as many others as it may, family_max is %s',
                first_one, send_child.family_max);
            return next;
            return;
        end if;
        id := hostler.send(send_child.task, send_child.args, queue => place.queue, priority => place.priority,
            delay => due);
        update hostler.task t
        set parent = send_child.parent
        where t.id = send_child.id
        returning t.lane into lane;
        insert into hostler.child (task, parent, root, depth, key, fingerprint)
        values (id, send_child.parent, first_one, nth, send_child.key, mark);
    -- What the guest did wrong is told to it; caught here, it does not fill the server's log.
    exception when sqlstate 'HS001' or sqlstate 'HS002' or sqlstate 'HS003' then
        id := null;
        said := sqlerrm;
    end;
    return next;
end
$$;

-- Keeps a value for a running task. 0: kept, 1: the claim is over, 2: too many keys, 3: too many bytes.
create function hostler.value_set(
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
    if not hostler.holds(value_set.session, value_set.task, value_set.claim) then
        return 1;
    end if;
    insert into hostler.bucket (name) values (value_set.bucket) on conflict (name) do nothing;
    select b.* into held from hostler.bucket b where b.name = value_set.bucket for update;
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
create function hostler.value_delete(session bigint, task uuid, claim bigint, bucket text, key text) returns boolean
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    before bigint;
begin
    if not hostler.holds(value_delete.session, value_delete.task, value_delete.claim) then
        return false;
    end if;
    perform from hostler.bucket b where b.name = value_delete.bucket for update;
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
create function hostler.value_add(
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
    if not hostler.holds(value_add.session, value_add.task, value_add.claim) then
        said := 1;
        return;
    end if;
    insert into hostler.bucket (name) values (value_add.bucket) on conflict (name) do nothing;
    perform from hostler.bucket b where b.name = value_add.bucket for update;
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
