"""Sentences about behavior, on a real PostgreSQL. Builders make the valid case; a test breaks one thing."""
