-- Makes the partitions that the coming days need, and yesterday's for senders whose clocks are behind.
select hostler.make_partitions((now() at time zone 'UTC')::date - 1, 5) as made
