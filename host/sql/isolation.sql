-- Whether each statement of this transaction sees what was committed before it.
select current_setting('transaction_isolation') in ('read committed', 'read uncommitted') as sees_present
