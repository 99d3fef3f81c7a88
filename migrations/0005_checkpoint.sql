-- Durable steps: what an attempt kept, for the attempts after it. Rows of tasks that ended are swept up; no
-- settle pays for them.
create table hostler.checkpoint (
    task uuid not null,
    name text not null,
    value bytea not null,
    -- Which attempt kept it last.
    attempt int not null,
    kept_at timestamptz not null default clock_timestamp(),
    primary key (task, name)
);
