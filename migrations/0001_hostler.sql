-- The schema `hostler`. The migrator has created it and put it first on the search path.
--
-- A task lives in exactly one of two places: `task` while something may still happen to it, `history`
-- once it is final. Every move between them is one statement. `attempt` holds the attempts that did not
-- end their task; the last attempt is folded into the task's row in `history`.

-- What may be sent: task names, as hosts published them (or a sender insisted on them).
create table hostler.kind (
    id int generated always as identity primary key,
    name text not null unique,
    -- Null: no host has ever served it.
    published_at timestamptz,
    description text not null default '',
    args_schema text not null default '{}',
    result_schema text not null default '{}',
    policy text not null default '{}'
);

-- The code that attempts ran.
create table hostler.plugin (
    id int generated always as identity primary key,
    name text not null,
    version text not null,
    digest text not null unique,
    first_seen_at timestamptz not null default clock_timestamp()
);

-- A queue of tasks of one kind and one priority. Number 0 is the waiting room, where tasks wait for
-- their time, ordered by it.
create table hostler.lane (
    id int generated always as identity primary key,
    kind int not null references hostler.kind,
    queue text not null,
    priority smallint not null check (priority between 1 and 100),
    unique (kind, queue, priority)
);

-- A task's place in its lane.
create sequence hostler.position;

create table hostler.task (
    id uuid not null,
    -- In a lane: from the sequence. In the waiting room: microseconds since 1970 when it is due.
    pos bigint not null,
    -- The claim: which process start, and its claim number. Null while PENDING.
    session bigint,
    claim bigint,
    claimed_at timestamptz,
    sent_at timestamptz not null default clock_timestamp(),
    run_at timestamptz,
    good_until timestamptz,
    -- Of the command: task, arguments, options. The same id with another fingerprint is refused.
    fingerprint bigint not null,
    parent uuid,
    -- Where it stands now (0: the waiting room) and where it belongs.
    lane int not null,
    home int not null,
    attempt int not null default 0,
    retries smallint not null default 0,
    redeliveries smallint not null default 0,
    releases smallint not null default 0,
    redeliveries_max smallint not null,
    -- The sender's own number; null leaves it to the plugin.
    max_retries smallint,
    keep_input boolean not null,
    cancel_requested boolean not null default false,
    previous_error text,
    progress real,
    progress_note text,
    args bytea not null,
    constraint task_pkey primary key (id),
    constraint a_claim_is_whole check (
        (session is null) = (claim is null) and (session is null) = (claimed_at is null)
    ),
    constraint only_a_lane_is_claimed check (lane <> 0 or session is null),
    constraint a_task_belongs_to_a_lane check (home > 0 and lane in (0, home))
) with (
    -- Half of each page stays free, so that a claim writes its new row version beside the old one and
    -- touches no index: nothing a claim changes stands in an index.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
create index task_by_lane on hostler.task (lane, pos);
create index task_by_good_until on hostler.task (good_until) where good_until is not null;

-- Final tasks. Partitioned by the time in the id, so that an id alone leads to its partition.
create table hostler.history (
    id uuid not null,
    sent_at timestamptz not null,
    finished_at timestamptz not null,
    run_at timestamptz,
    good_until timestamptz,
    fingerprint bigint not null,
    parent uuid,
    -- The last attempt, if one was made.
    session bigint,
    claimed_at timestamptz,
    memory_bytes_peak bigint,
    lane int not null,
    attempt int not null,
    plugin int,
    cpu_ms int,
    wall_ms int,
    -- 3 COMPLETED, 4 FAILED, 5 CANCELLED, 6 EXPIRED
    status smallint not null check (status between 3 and 6),
    -- 1 COMPLETED, 2 FAILED, 3 CANCELLED, 4 RELEASED, 5 WORKER_FAILURE; null: no attempt was made.
    outcome smallint,
    retries smallint not null,
    redeliveries smallint not null,
    releases smallint not null,
    redeliveries_max smallint not null,
    max_retries smallint,
    error_family smallint,
    error_code text,
    -- UTF-8 JSON: message, data, cause.
    error bytea,
    result bytea,
    log_tail bytea,
    args bytea,
    constraint history_pkey primary key (id)
) partition by range (id);
create table hostler.history_default partition of hostler.history default;

-- Attempts that were followed by another one. Written once, when the attempt closes.
create table hostler.attempt (
    task uuid not null,
    session bigint not null,
    claimed_at timestamptz not null,
    finished_at timestamptz not null,
    memory_bytes_peak bigint,
    number int not null,
    plugin int,
    cpu_ms int,
    wall_ms int,
    outcome smallint not null,
    error_family smallint,
    error_code text,
    error bytea,
    log_tail bytea,
    constraint attempt_pkey primary key (task, number)
) partition by range (task);
create table hostler.attempt_default partition of hostler.attempt default;

-- One row for each process start of a host. Kept after its end: attempts refer to it.
create table hostler.host (
    session bigint primary key,
    beat bigint not null default 0,
    -- Claims with a lower number can no longer commit.
    claim_floor bigint not null default 0,
    started_at timestamptz not null default clock_timestamp(),
    beat_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    pid int not null,
    lease_ms int not null,
    slots int not null,
    running int not null default 0,
    draining boolean not null default false,
    -- Declared dead by another host, against having left by itself.
    lost boolean not null default false,
    hostname text not null,
    version text not null,
    queues text[],
    constraint only_an_ended_host_is_lost check (not lost or ended_at is not null)
) with (fillfactor = 50);

-- Which live host serves which task, with which code.
create table hostler.serving (
    session bigint not null references hostler.host on delete cascade,
    kind int not null references hostler.kind,
    plugin int not null references hostler.plugin,
    primary key (session, kind)
);

-- Cancels of running tasks, for their hosts to find with the poll.
create table hostler.cancel (
    session bigint not null,
    task uuid not null,
    claim bigint not null,
    primary key (session, task)
);

-- Idempotency keys. A key is taken while its task is live and for its window after that.
create table hostler.key (
    kind int not null references hostler.kind,
    key text not null,
    task uuid not null,
    fingerprint bigint not null,
    window_seconds int not null,
    taken_at timestamptz not null default clock_timestamp(),
    primary key (kind, key)
);

-- The lowest UUIDv7 of an instant.
create function hostler.id_floor(at timestamptz) returns uuid
    language sql immutable strict parallel safe
    return (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid;

-- The instant in a UUIDv7.
create function hostler.id_time(id uuid) returns timestamptz
    language sql immutable strict parallel safe
    return to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0);

-- Sees to it that the partitions of these days exist. Safe to call from many places at once.
create function hostler.make_partitions(first date, days int) returns int
    language plpgsql
    set lock_timeout = '2s'
as $$
declare
    made int := 0;
    day date;
    parent text;
    child text;
begin
    perform pg_advisory_xact_lock(hashtext('hostler.make_partitions'));
    for day in select first + n from generate_series(0, days - 1) n loop
        foreach parent in array array['history', 'attempt'] loop
            child := parent || to_char(day, '_YYYYMMDD');
            continue when to_regclass('hostler.' || child) is not null;
            execute format(
                'create table hostler.%I partition of hostler.%I for values from (%L) to (%L)',
                child, parent,
                hostler.id_floor(day::timestamp at time zone 'UTC'),
                hostler.id_floor((day + 1)::timestamp at time zone 'UTC'));
            made := made + 1;
        end loop;
    end loop;
    return made;
end
$$;

select hostler.make_partitions((now() at time zone 'UTC')::date - 1, 5);
