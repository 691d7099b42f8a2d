"""Faults of all kinds while customers pay, and then the question whether anything was lost or doubled.

    fab chaos                       # ten minutes
    fab chaos --minutes 1 --seed 7

`world` runs the service, `customers` use it through Perma.cc and CyberSource, and `faults` disturbs it. `record`
keeps what CyberSource and Perma.cc did and how they were answered, `ledger` reads what the service kept, and
`verdict` compares the two. `run` puts all of it together.

The service is known by HTTP and SQL alone. The sandbox's code speaks the two protocols.
"""
