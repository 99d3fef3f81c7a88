-- Recovery looks through the whole table, in stretches of pages, and a day of history goes without holding up settles.

-- Where it stands: one row, for all hosts together. Its lock is what makes one host look at a time.
create table hostler.recovery (
    one boolean primary key default true check (one),
    -- The page where the next stretch begins.
    page bigint not null default 0,
    -- When the pass that goes on began, and whether it has met rows that somebody held locked.
    began_at timestamptz not null default '-infinity',
    skipped boolean not null default false,
    -- When the last whole pass began, and whether it left some behind for that reason.
    since timestamptz not null default '-infinity',
    left_some boolean not null default false
) with (fillfactor = 10);
insert into hostler.recovery default values;

-- Whether there may be something to take back: somebody ended since the last whole pass began (a second is for whoever
-- was just committing that), a row was locked then, or it was long ago, or a server with another clock has taken over.
create function hostler.recovery_due(r hostler.recovery, every interval) returns boolean
    language sql stable
    return r.since <= clock_timestamp() - every
        or r.since > clock_timestamp()
        or (r.left_some and r.since <= clock_timestamp() - interval '1 second')
        or exists (select from hostler.host where ended_at > r.since - interval '1 second');

-- As before, but what stays is looked for before the partition is detached. From then on no settle can be written, and a
-- full day takes a while to read; meanwhile the day itself takes no rows, so what was found is all there is.
create or replace function hostler.drop_oldest_day(cutoff timestamptz) returns date
    language plpgsql
    set lock_timeout = '200ms'
as $$
declare
    day date;
    parent text;
    child text;
    tasks text;
    attempts text;
    stay tid[];
    attempts_stay tid[];
begin
    select min(to_date(right(c.relname, 8), 'YYYYMMDD')) into day
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('hostler.history'::regclass, 'hostler.attempt'::regclass)
        and c.relname ~ '^(history|attempt)_[0-9]{8}$';
    if day is null or (day + 1)::timestamp at time zone 'UTC' > cutoff then
        return null;
    end if;
    tasks := 'history' || to_char(day, '_YYYYMMDD');
    attempts := 'attempt' || to_char(day, '_YYYYMMDD');
    foreach child in array array[tasks, attempts] loop
        continue when to_regclass('hostler.' || child) is null;
        execute format('lock table hostler.%I in share mode', child);
    end loop;
    if to_regclass('hostler.' || tasks) is not null then
        execute format('select array_agg(h.ctid) from hostler.%I h
            where h.finished_at >= $1 or exists (
                select from hostler.key k
                where k.task = h.id and h.finished_at + k.window_seconds * interval ''1 second'' > clock_timestamp())',
            tasks)
        into stay using cutoff;
    end if;
    if to_regclass('hostler.' || attempts) is not null then
        -- Attempts of a task that is still on record stay with it.
        execute format(case when to_regclass('hostler.' || tasks) is null
            then 'select array_agg(a.ctid) from hostler.%1$I a
                where exists (select from hostler.history_default h where h.id = a.task)
                    or exists (select from hostler.task t where t.id = a.task)'
            else 'select array_agg(a.ctid) from hostler.%1$I a
                where exists (select from hostler.%2$I h where h.id = a.task and h.ctid = any ($1))
                    or exists (select from hostler.history_default h where h.id = a.task)
                    or exists (select from hostler.task t where t.id = a.task)' end, attempts, tasks)
        into attempts_stay using stay;
    end if;
    foreach parent in array array['attempt', 'history'] loop
        child := parent || to_char(day, '_YYYYMMDD');
        continue when to_regclass('hostler.' || child) is null;
        execute format('alter table hostler.%I detach partition hostler.%I', parent, child);
    end loop;
    if to_regclass('hostler.' || tasks) is not null then
        execute format('insert into hostler.history_default select h.* from hostler.%I h where h.ctid = any ($1)', tasks)
        using stay;
        execute format('drop table hostler.%I', tasks);
    end if;
    if to_regclass('hostler.' || attempts) is not null then
        execute format('insert into hostler.attempt_default select a.* from hostler.%I a where a.ctid = any ($1)', attempts)
        using attempts_stay;
        execute format('drop table hostler.%I', attempts);
    end if;
    return day;
end
$$;
