"""Whole journeys against a running world: Perma Payments, and the sandbox in place of everyone it talks to.

    fab demo --check

starts such a world and runs these tests. Against one that runs already:

    E2E_PAYMENTS_URL=http://localhost:8000 E2E_SANDBOX_URL=http://localhost:8001 \
    E2E_STAFF=staff E2E_STAFF_PASSWORD=... python -m pytest e2e

They know the world by HTTP alone, as a customer's browser and Perma.cc's servers do, and they check what they see
against the contract with Perma.cc (docs/contracts/perma.md). Every test has customers of its own, with numbers
that nobody had before, so they can run again and again against the same world.
"""
