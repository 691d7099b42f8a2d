"""Measurements of the running service. Each module is a script: see README.md."""
