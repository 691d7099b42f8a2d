"""A customer's visits from end to end, unattended, over real HTTP.

    python -m sandbox.walkthrough --sandbox http://127.0.0.1:8001 [--payments http://127.0.0.1:8000]

Goes through the pages of a running sandbox and a running Perma Payments as a browser would, and
checks what it sees against the contract with Perma.cc (perma.md). Prints each step, then how many
checks passed and failed; exits 0 where all passed, else 1.

The customers it plays have random numbers, so that it can be run again and again against the same
Perma Payments. A step is a function that is given the Visit; STEPS lists them in order.
"""
