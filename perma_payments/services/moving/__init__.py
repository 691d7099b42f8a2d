"""Move in from the service that this one replaces, and move out to the next one (docs/moving.md).

Moving in: read.py reads the old database, plan.py says what each row becomes here, told.py says what Perma.cc is
told before and after, here.py finds what was imported earlier, and write.py writes. Moving out: export.py.
"""
