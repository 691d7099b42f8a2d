"""The admin. Importing it registers our tables with ``admin.site``, which is admin/site.py's."""

from . import agreements, freezes, purchases, responses, staff_tasks, status_reports, transactions, users

__all__ = [
    "agreements",
    "freezes",
    "purchases",
    "responses",
    "staff_tasks",
    "status_reports",
    "transactions",
    "users",
]
