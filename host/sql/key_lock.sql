-- Holds an idempotency key against other senders until the end of the transaction.
-- $1 kind, $2 key
select task from hostler.key where kind = $1 and key = $2 for update
