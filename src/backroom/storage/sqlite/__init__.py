"""The tables of an embedded store, and every change to them and look at them.

`ledger.py` is the frame of a transaction; the changes are plain functions of a ledger and of
`now`, one file a role. Nothing here begins or ends a transaction, waits or reads a clock: the
storage around it decides how writes travel together. Whatever is done to many jobs is one
statement with one JSON argument: a statement a row would give up and take back Python's
interpreter lock at every row.
"""
