"""Whole journeys against a running world: Perma Payments, and the sandbox in the place of everyone else.

    fab demo --check

starts such a world for each of Perma.cc's two clients and runs these tests there. Against one that runs already:

    E2E_PAYMENTS_URL=http://localhost:8000 E2E_SANDBOX_URL=http://localhost:8001 E2E_PERMA_CLIENT=2026 \
    E2E_STAFF=staff E2E_STAFF_PASSWORD=... python -m pytest e2e

Most tests are about both clients. Those marked `client("2024")` or `client("2026")` run only where that one is
played.

They use HTTP only, like a customer's browser and Perma.cc's servers, and compare what they see with the contract
with Perma.cc (docs/contracts/perma.md). Every test has its own customers, with numbers that nobody has had before,
so they can run any number of times against the same world.
"""
