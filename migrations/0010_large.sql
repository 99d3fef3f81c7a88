-- What looks at the whole table comes the more rarely the larger it is.

-- A vacuum reads every index: with a million tasks waiting one came for every 25,000 that had ended, and cost each of
-- them 5 µs. Claims look behind what vacuum has not removed yet, so it may wait until a tenth of the table is dead.
alter table hostler.task set (autovacuum_vacuum_scale_factor = 0.1);

-- How many pages the last whole pass of recovery found.
alter table hostler.recovery add column walked_pages bigint not null default 0;

-- As before, but the look that has no reason comes once in that time for each 10,000 pages: these are read within some
-- 20 ms.
create or replace function hostler.recovery_due(r hostler.recovery, every interval) returns boolean
    language sql stable
    return r.since <= clock_timestamp() - every * greatest(1, r.walked_pages / 10000.0)
        or r.since > clock_timestamp()
        or (r.left_some and r.since <= clock_timestamp() - interval '1 second')
        or exists (select from hostler.host where ended_at > r.since - interval '1 second');
