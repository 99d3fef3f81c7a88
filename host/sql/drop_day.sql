-- Drops the oldest day of history that is over its time as a whole; null: there is none.
-- $1 days to keep
select hostler.drop_oldest_day(clock_timestamp() - $1::int * interval '1 day')::text as day
