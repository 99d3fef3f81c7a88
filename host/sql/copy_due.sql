-- Streams new tasks into the waiting room, where the time they are due is their position.
copy hostler.task
    (id, args, fingerprint, lane, home, sent_at, run_at, good_until, redeliveries_max, max_retries, keep_input, parent,
    pos)
from stdin with (format binary)
