-- What a host asks when nothing wakes it: one cheap look at everything that may concern it.
-- $1 session, $2 the lanes it serves, $3 the position behind which to look for waiting tasks, $4 ms between two looks
-- for tasks of hosts that are gone
with waiting as materialized (
    select l.lane, first.pos
    from unnest($2::int[]) as l (lane)
    cross join lateral (
        select t.pos
        from hostler.task t
        where t.lane = l.lane and t.pos > $3 and t.session is null
        order by t.pos
        limit 1
    ) first
)
select
    (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us,
    (select pos from hostler.task where lane = 0 order by pos limit 1) as next_due_us,
    (select good_until <= clock_timestamp() from hostler.task
        where good_until is not null order by good_until limit 1) as late,
    (select last_value from hostler.position) as newest_position,
    array(select lane from waiting order by lane) as lanes_waiting,
    array(select pos from waiting order by lane) as first_waiting,
    (select max(id) from hostler.lane) as newest_lane,
    array(select task from hostler.cancel where session = $1 order by task) as cancels,
    array(select claim from hostler.cancel where session = $1 order by task) as cancelled_claims,
    array(select session from hostler.host where ended_at is null order by session) as hosts,
    array(select beat from hostler.host where ended_at is null order by session) as beats,
    array(select lease_ms from hostler.host where ended_at is null order by session) as leases_ms,
    (select hostler.recovery_due(r, $4::bigint * interval '1 millisecond') from hostler.recovery r) as recovery_due,
    array(select plugin from hostler.suspect where quarantined_at is not null order by plugin) as quarantined,
    array(select plugin from hostler.suspect
        where quarantined_at is null and suspect_until > clock_timestamp() order by plugin) as suspects
