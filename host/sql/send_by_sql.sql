-- Sends one task as any program does that speaks SQL, for a bench.
-- $1 task, $2 arguments, $3 whether hosts are told at the commit
select hostler.send($1::text, $2::text, wake => $3::boolean) as id
