-- Streams new tasks of one lane into it, each behind the one before.
copy hostler.task
    (id, args, fingerprint, lane, home, sent_at, run_at, good_until, redeliveries_max, max_retries, keep_input, parent)
from stdin with (format binary)
