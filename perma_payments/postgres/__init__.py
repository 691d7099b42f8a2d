"""PostgreSQL, as this service asks it: Django's backend, with a time limit on everything that waits."""
