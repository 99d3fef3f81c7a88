-- Before tasks are streamed into their table: what time it is, and a commit that waits for the disk. A schema that is too
-- old to be streamed into is told by the missing function, and not by what the table makes of the rows. No time limit ends a
-- stream whose sender is gone without a word, and it holds vacuum back: so its connection is watched, for as long as this
-- transaction lasts.
select
    clock_timestamp() as now,
    hostler.never_resent('{}'),
    case when current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', true) end as durable,
    set_config('tcp_keepalives_idle', '15', true) as idle,
    set_config('tcp_keepalives_interval', '5', true) as interval,
    set_config('tcp_keepalives_count', '3', true) as count
