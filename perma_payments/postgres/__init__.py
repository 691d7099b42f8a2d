"""Django's backend for PostgreSQL, with a time limit on everything that waits."""
