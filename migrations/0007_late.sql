-- Sends that arrive late, transactions that see the past, and rows that are streamed in.

-- Ids that were sent by somebody who knew that another send of them might still be on its way. Such a send, stuck in
-- the network while its task ran and went to history, must not bring it to life again when it arrives. Looking for
-- every new id in history would double the price of a send; this table is as good as empty. An id is of no use
-- here once its time is a day over: the send is refused for that then.
create table hostler.resent (
    id uuid not null,
    constraint resent_pkey primary key (id)
);

-- How many these ids are. Asked by a send once they are in its `task`: with a snapshot of its own it sees everything
-- that was committed before that, and a repeat that was not yet finds the row and waits for it.
create function hostler.never_resent(ids uuid[]) returns bigint
    language plpgsql volatile
as $$
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'a send needs READ COMMITTED' using errcode = 'HS006';
    end if;
    if exists (select from hostler.resent r where r.id = any (never_resent.ids)) then
        raise exception 'this send comes too late: another one of the same id went before it'
            using errcode = 'unique_violation';
    end if;
    return coalesce(cardinality(never_resent.ids), 0);
end
$$;

-- For rows that are streamed in.
alter table hostler.task alter pos set default nextval('hostler.position');

-- As before, but for an id or a key in a transaction that could not see what became of the first one, and with a note
-- that the id may come once more.
create or replace function hostler.send(
    task text,
    args text default '{}',
    id uuid default null,
    queue text default 'default',
    priority int default 50,
    delay interval default null,
    good_until timestamptz default null,
    key text default null,
    key_window interval default '24 hours',
    retries int default null,
    redeliveries int default null,
    keep_input boolean default null,
    unpublished boolean default false,
    wake boolean default false
) returns uuid
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    args_bytes_max constant int := 8 * 1024 * 1024;
    part constant text := '[a-z][a-z0-9_]{0,59}';
    bytes bytea := convert_to(send.args, 'UTF8');
    new_id uuid := coalesce(send.id, hostler.make_id());
    kind hostler.kind;
    policy jsonb;
    lane int;
    due timestamptz := clock_timestamp() + send.delay;
    lives int;
    mark bigint;
    holder hostler.key;
    near text;
begin
    if send.task is null or send.task !~ ('^' || part || '\.' || part || '$') then
        raise exception 'VALIDATION_FAILED: task name % is not valid', quote_nullable(send.task)
            using errcode = 'HS001',
                hint = 'Write plugin.task, each part a-z, 0-9 and _, starting with a letter, at most 60 characters.';
    end if;
    if send.queue is null or send.queue !~ '^[a-z][a-z0-9_-]{0,59}$' then
        raise exception 'VALIDATION_FAILED: queue name % is not valid', quote_nullable(send.queue)
            using errcode = 'HS001', hint = 'Write a-z, 0-9, _ and -, starting with a letter, at most 60 characters.';
    end if;
    if send.priority is null or send.priority not between 1 and 100 then
        raise exception 'VALIDATION_FAILED: priority % is not between 1 and 100', send.priority using errcode = 'HS001';
    end if;
    if send.delay < interval '0' or send.delay > interval '100 years' then
        raise exception 'VALIDATION_FAILED: a delay lies between 0 and 100 years' using errcode = 'HS001';
    end if;
    if octet_length(send.key) not between 1 and 255 then
        raise exception 'VALIDATION_FAILED: a key has 1 to 255 bytes' using errcode = 'HS001';
    end if;
    if send.retries not between 0 and 20 or send.redeliveries not between 0 and 1000 then
        raise exception 'VALIDATION_FAILED: retries are at most 20, redeliveries at most 1000' using errcode = 'HS001';
    end if;
    if bytes is null then
        raise exception 'VALIDATION_FAILED: the arguments are no JSON: null' using errcode = 'HS001';
    end if;
    if octet_length(bytes) > args_bytes_max then
        raise exception 'PAYLOAD_TOO_LARGE: the arguments are % bytes of JSON, the limit is %',
            octet_length(bytes), args_bytes_max
            using errcode = 'HS003', hint = 'Send a reference to large data instead.';
    end if;
    begin
        perform send.args::json;
    exception when invalid_text_representation or untranslatable_character then
        raise exception 'VALIDATION_FAILED: the arguments are no JSON: %', sqlerrm using errcode = 'HS001';
    end;
    if new_id not between hostler.id_floor(clock_timestamp() - interval '1 day')
        and hostler.id_floor(clock_timestamp() + interval '1 day') or substr(new_id::text, 15, 1) <> '7' then
        raise exception 'VALIDATION_FAILED: the id % is no UUIDv7 of about now', new_id
            using errcode = 'HS001', hint = 'Leave it out, or set the clock that made it.';
    end if;

    if (send.id is not null or send.key is not null)
        and current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'VALIDATION_FAILED: an id or a key needs READ COMMITTED, and this transaction is %',
            upper(current_setting('transaction_isolation'))
            using errcode = 'HS001',
                hint = 'It does not see what was sent, or ended, since it began, and the task might run twice.';
    end if;

    select k.* into kind from hostler.kind k where k.name = send.task;
    if kind.id is null or (kind.published_at is null and not send.unpublished) then
        if not send.unpublished then
            select string_agg(k.name, ', ') into near
            from (
                select k.name from hostler.kind k
                where k.published_at is not null
                    and (split_part(k.name, '.', 1) = split_part(send.task, '.', 1)
                        or split_part(k.name, '.', 2) = split_part(send.task, '.', 2))
                order by k.name
                limit 5
            ) k;
            raise exception 'UNKNOWN_TASK: no host ever published the task %', send.task
                using errcode = 'HS002',
                    hint = coalesce('There are: ' || near || '.', '`hostler tasks` lists the names there are.');
        end if;
        insert into hostler.kind (name) values (send.task) on conflict (name) do nothing;
        select k.* into kind from hostler.kind k where k.name = send.task;
    end if;
    policy := kind.policy::jsonb;
    lives := coalesce(send.redeliveries, (policy ->> 'redeliveries')::int, 3);
    if lives = 0 and coalesce(send.retries, (policy ->> 'max_retries')::int, 0) > 0 then
        raise exception 'VALIDATION_FAILED: redeliveries = 0 means never start twice, which retries would do'
            using errcode = 'HS001', hint = 'Set retries to 0.';
    end if;

    select l.id into lane from hostler.lane l
    where l.kind = kind.id and l.queue = send.queue and l.priority = send.priority;
    if lane is null then
        insert into hostler.lane (kind, queue, priority) values (kind.id, send.queue, send.priority)
        on conflict (kind, queue, priority) do nothing;
        select l.id into lane from hostler.lane l
        where l.kind = kind.id and l.queue = send.queue and l.priority = send.priority;
    end if;

    mark := ('x' || encode(substring(sha256(convert_to(
        concat_ws(chr(31), 'hostler.send 1', send.task, send.queue, send.priority, coalesce(send.delay::text, '-'),
            coalesce(extract(epoch from send.good_until)::text, '-'), coalesce(send.retries::text, '-'), lives,
            coalesce(send.keep_input::text, '-'), ''), 'UTF8') || bytes) from 1 for 8), 'hex'))::bit(64)::bigint;

    if send.key is not null then
        insert into hostler.key (kind, key, task, fingerprint, window_seconds)
        values (kind.id, send.key, new_id, mark, extract(epoch from send.key_window)::int)
        on conflict (kind, key) do nothing;
        if not found then
            -- Locked first and read after, by a statement that sees what the first one waited for.
            perform from hostler.key k where k.kind = kind.id and k.key = send.key for update;
            select k.* into holder from hostler.key k where k.kind = kind.id and k.key = send.key;
            if exists (select from hostler.task t where t.id = holder.task) or exists (
                select from hostler.history h
                where h.id = holder.task
                    and h.finished_at + holder.window_seconds * interval '1 second' > clock_timestamp()
            ) then
                if holder.fingerprint = mark then
                    return holder.task;
                end if;
                raise exception 'KEY_CONFLICT: the key % was used for another command, task %',
                    quote_literal(send.key), holder.task
                    using errcode = 'HS005', hint = 'Use another key or send the same.';
            end if;
            update hostler.key k
            set task = new_id,
                fingerprint = mark,
                window_seconds = extract(epoch from send.key_window)::int,
                taken_at = clock_timestamp()
            where k.kind = kind.id and k.key = send.key;
        end if;
    end if;

    insert into hostler.task
        (id, args, fingerprint, lane, home, pos, run_at, good_until, redeliveries_max, max_retries, keep_input)
    values (
        new_id, bytes, mark,
        case when due is null then lane else 0 end,
        lane,
        case when due is null then nextval('hostler.position') else (extract(epoch from due) * 1000000)::bigint end,
        due, send.good_until, lives, send.retries,
        coalesce(send.keep_input, (policy ->> 'keep_input')::boolean, true)
    )
    on conflict (id) do nothing;
    if send.id is not null then
        -- It may have been sent before: then the first one stays, wherever it is.
        if found then
            insert into hostler.resent (id) values (new_id) on conflict (id) do nothing;
            delete from hostler.task t
            where t.id = new_id and exists (select from hostler.history h where h.id = new_id);
        end if;
        if not exists (select from hostler.task t where t.id = new_id and t.fingerprint = mark)
            and not exists (select from hostler.history h where h.id = new_id and h.fingerprint = mark) then
            raise exception 'PAYLOAD_MISMATCH: the id % belongs to another command', new_id using errcode = 'HS004';
        end if;
    end if;

    if send.wake then
        perform pg_notify('hostler_lanes', case when due is null then lane else 0 end::text);
    end if;
    return new_id;
end
$$;
