"""What the tasks in fabfile.py are made of: a PostgreSQL on demand, and processes that end with their task.

Nothing here is part of the service, and nothing needs Django's settings.
"""

from pathlib import Path

# The root of the checkout. Every process starts there, no matter where `fab` was called.
ROOT = Path(__file__).resolve().parent.parent


class TaskError(Exception):
    """Why a task cannot go on: a sentence for the person who called it."""
