-- Begins a transaction in which each statement sees what was committed before it, whatever the role's default is:
-- looking again is how a send under a known id or key finds the first one.
begin isolation level read committed
