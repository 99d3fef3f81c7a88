-- After an insert of ids that may have been sent before: takes back those that are final already.
-- $1 ids that were inserted
delete from hostler.task t
where t.id = any (array(select id from hostler.history where id = any ($1::uuid[])))
returning t.id
