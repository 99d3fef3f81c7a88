-- Where a live task stands; 0 is the waiting room; read only.
-- $1 id
select lane from hostler.task where id = $1
