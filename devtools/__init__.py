"""What the fabfile's tasks are made of: a PostgreSQL on demand, processes that end with their task.

Nothing here is part of the service, and nothing here needs Django's settings.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The root of the checkout: every process starts there, wherever `fab` was called."""


class TaskError(Exception):
    """Why a task can't go on: a sentence for the person who called it."""
