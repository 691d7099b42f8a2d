"""The append-only history: who changes things, as values that code and SQL compare."""

from enum import StrEnum


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
