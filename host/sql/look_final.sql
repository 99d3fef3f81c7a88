-- What became of those of these tasks that are final; read only. An id that is not returned is not, or is
-- unknown.
-- $1 ids
select id, status, error_family, error_code, error, result
from hostler.history
where id = any ($1::uuid[])
