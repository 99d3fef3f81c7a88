-- A host has seen these cancels.
-- $1 session, $2 tasks
delete from hostler.cancel where session = $1 and task = any ($2::uuid[])
