-- After an insert of ids that may have been sent before: takes back those that are final already.
-- $1 ids that were inserted
with again as (
    select id from hostler.history where id = any ($1::uuid[])
)
delete from hostler.task t
using again
where t.id = again.id
returning t.id
