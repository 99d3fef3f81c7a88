-- Before tasks are streamed into their table: what time it is, and a commit that waits for the disk. No time limit ends a
-- stream whose sender is gone without a word, and it holds vacuum back: so its connection is watched, for as long as this
-- transaction lasts.
select
    clock_timestamp() as now,
    case when current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end as durable,
    set_config('tcp_keepalives_idle', '15', true) as idle,
    set_config('tcp_keepalives_interval', '5', true) as interval,
    set_config('tcp_keepalives_count', '3', true) as count
