-- The command behind an id, wherever its task is; read only.
-- $1 id
select fingerprint from hostler.task where id = $1
union all
select fingerprint from hostler.history where id = $1
