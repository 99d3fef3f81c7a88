-- A host comes to life.
-- $1 session, $2 pid, $3 lease in ms, $4 slots, $5 hostname, $6 version, $7 queues or null for all
insert into hostler.host (session, pid, lease_ms, slots, hostname, version, queues)
values ($1, $2, $3, $4, $5, $6, $7)
returning (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us
