-- Whether anything is left to do, for a bench; read only.
select exists (select from hostler.task) as left_over
