-- What became of those of these tasks that are final and were sent on one day; read only. The day in the
-- table's name is put in by the caller: the plan is made once, and only this partition is locked.
-- $1 ids
select id, status, error_family, error_code, error, result
from hostler.history_20000101
where id = any ($1::uuid[])
