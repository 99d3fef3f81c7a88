-- Which server process answers this; asked to learn whether a pooler stands in between.
select pg_backend_pid() as backend
