"""Random lives of customers, compared after each step with a model of what must be true (docs/development.md)."""
