"""The append-only history: who changes things, as values that code and SQL compare."""

import json
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pghistory

# For the target list of a SELECT, with the parameters of ``telling``.
TELL = "set_config('pghistory.context_id', %s, true), set_config('pghistory.context_metadata', %s, true)"


def telling(**context: Any) -> list[str]:
    """The parameters of TELL: it tells PostgreSQL's triggers who changes things, until the transaction ends.

    ``pghistory.context`` would do so again with each statement. Inside one, this adds to it, as another would.
    """
    pghistory.context(**context)
    return [str(uuid4()), json.dumps(context)]


class HistorySource(StrEnum):
    """What a change in the history came from: the value of ``source`` in an event's ``pgh_context``.

    A context also holds ids (``response``, ``report``, ``user``, or the archive's new ``key``) and the ``reason``
    that staff gave. An event of the service before this one has ``history``, the row's id there. A change without
    a context was made outside the service, in SQL.
    """

    CUSTOMER_REQUEST = "customer request"
    CYBERSOURCE_RESPONSE = "CyberSource response"
    PERMA_ACKNOWLEDGEMENT = "Perma.cc acknowledgement"
    STATUS_REPORT = "status report"
    STATUS_REPORT_REVERTED = "status report reverted"
    STAFF = "staff"
    MAIL = "mail"
    SCHEDULER = "scheduler"
    RESEALING = "resealing"
    IMPORT = "import"
    RESTORE = "restore"
