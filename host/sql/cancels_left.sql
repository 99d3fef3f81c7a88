-- Cancels for sessions that are over: nobody comes for them any more.
delete from hostler.cancel c
where not exists (select from hostler.host h where h.session = c.session and h.ended_at is null)
