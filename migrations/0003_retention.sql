-- History has an end: a day's partition goes when all its tasks were sent longer ago than is kept.

-- Of a sent row 100 bytes are head and columns, and a claim writes 24 more. With half of each page free the
-- last rows of a page found no room beside the old ones, and every sixth claim of small tasks wrote to the
-- indexes after all.
alter table hostler.task set (fillfactor = 42);

-- What is left in the default partitions is found by its time, and a pruned task's key by the task.
create index history_default_by_finish on hostler.history_default (finished_at);
create index key_by_task on hostler.key (task);

-- Drops the oldest day that lies before the cutoff as a whole; what ended after the cutoff all the same, and
-- what a key's window still names, moves to the default partitions and stays its time. Returns that day, or null when there is none left to drop.
-- Dropping needs a lock that settles and a dump stand in the way of: it is not waited for long, because
-- whoever came later would wait behind us.
create function hostler.drop_oldest_day(cutoff timestamptz) returns date
    language plpgsql
    set lock_timeout = '200ms'
as $$
declare
    day date;
    parent text;
    child text;
begin
    select min(to_date(right(c.relname, 8), 'YYYYMMDD')) into day
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('hostler.history'::regclass, 'hostler.attempt'::regclass)
        and c.relname ~ '^(history|attempt)_[0-9]{8}$';
    if day is null or (day + 1)::timestamp at time zone 'UTC' > cutoff then
        return null;
    end if;
    -- Attempts of a task that is still on record stay with it.
    foreach parent in array array['attempt', 'history'] loop
        child := parent || to_char(day, '_YYYYMMDD');
        continue when to_regclass('hostler.' || child) is null;
        execute format('alter table hostler.%I detach partition hostler.%I', parent, child);
    end loop;
    child := 'history' || to_char(day, '_YYYYMMDD');
    if to_regclass('hostler.' || child) is not null then
        execute format('insert into hostler.history_default select h.* from hostler.%I h
            where h.finished_at >= $1 or exists (
                select from hostler.key k
                where k.task = h.id and h.finished_at + k.window_seconds * interval ''1 second'' > clock_timestamp())',
            child)
        using cutoff;
        execute format('drop table hostler.%I', child);
    end if;
    child := 'attempt' || to_char(day, '_YYYYMMDD');
    if to_regclass('hostler.' || child) is not null then
        execute format(
            'insert into hostler.attempt_default select a.* from hostler.%I a
            where exists (select from hostler.history_default h where h.id = a.task)
                or exists (select from hostler.task t where t.id = a.task)', child);
        execute format('drop table hostler.%I', child);
    end if;
    return day;
end
$$;

-- As before; and where no host had lived for days, tasks of a day without a partition of its own went to the
-- default one, which then refuses a partition for that day: they move to it.
create or replace function hostler.make_partitions(first date, days int) returns int
    language plpgsql
    set lock_timeout = '2s'
as $$
declare
    made int := 0;
    day date;
    parent text;
    key text;
    child text;
    bounds text;
begin
    perform pg_advisory_xact_lock(hashtext('hostler.make_partitions'));
    for day in select first + n from generate_series(0, days - 1) n loop
        foreach parent in array array['history', 'attempt'] loop
            child := parent || to_char(day, '_YYYYMMDD');
            continue when to_regclass('hostler.' || child) is not null;
            bounds := format('from (%L) to (%L)',
                hostler.id_floor(day::timestamp at time zone 'UTC'),
                hostler.id_floor((day + 1)::timestamp at time zone 'UTC'));
            begin
                execute format('create table hostler.%I partition of hostler.%I for values %s', child, parent, bounds);
            exception when check_violation then
                key := case parent when 'history' then 'id' else 'task' end;
                execute format('lock table hostler.%I in access exclusive mode', parent || '_default');
                execute format('create table hostler.%I (like hostler.%I including all)', child, parent);
                execute format(
                    'with moved as (delete from hostler.%1$I where %2$I >= %3$L and %2$I < %4$L returning *)
                    insert into hostler.%5$I select * from moved',
                    parent || '_default', key,
                    hostler.id_floor(day::timestamp at time zone 'UTC'),
                    hostler.id_floor((day + 1)::timestamp at time zone 'UTC'), child);
                execute format(
                    'alter table hostler.%I attach partition hostler.%I for values %s', parent, child, bounds);
            end;
            made := made + 1;
        end loop;
    end loop;
    return made;
end
$$;
