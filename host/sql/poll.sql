-- What a host asks when nothing wakes it: one cheap look at everything that may concern it.
-- $1 session, $2 the lanes it serves
select
    (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us,
    (select pos from hostler.task where lane = 0 order by pos limit 1) as next_due_us,
    (select good_until <= clock_timestamp() from hostler.task
        where good_until is not null order by good_until limit 1) as late,
    array(
        select l.lane
        from unnest($2::int[]) as l (lane)
        where exists (select from hostler.task t where t.lane = l.lane and t.session is null)
    ) as lanes_waiting,
    (select max(id) from hostler.lane) as newest_lane,
    array(select task from hostler.cancel where session = $1) as cancels,
    array(select session from hostler.host where ended_at is null order by session) as hosts,
    array(select beat from hostler.host where ended_at is null order by session) as beats,
    array(select lease_ms from hostler.host where ended_at is null order by session) as leases_ms
