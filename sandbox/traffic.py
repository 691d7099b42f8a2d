"""What was sent and received, for people (/traffic/) and for programs (/traffic.json).

The sandbox handles invented data only, so it keeps messages opened and forms in full.
"""

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# The kinds of entry, and what an entry of each kind has in addition to `id`, `at`, `kind` and `summary`:
#   page-messages  customer, messages: [{route, encrypted_data, message}]; sealed into one page
#   status-call    url, sent, status (int or null), reply (opened, or null), problem (or null)
#   history-call, acknowledge-call   the same
#   form           path, fields: [[name, value]], accepted (bool), reason (or null), notes
#   callback       url, fields: [[name, value]], status (int or null), body, problem (or null)
#   return         url, fields: [[name, value]]; what the customer's browser may carry there
PAGE_MESSAGES = "page-messages"
STATUS_CALL = "status-call"
HISTORY_CALL = "history-call"
ACKNOWLEDGE_CALL = "acknowledge-call"
FORM = "form"
CALLBACK = "callback"
RETURN = "return"


@dataclass(frozen=True)
class TrafficEntry:
    """Something that was sent or received. `id` rises by one from entry to entry; `at` is UTC."""

    id: int
    at: datetime
    kind: str
    summary: str
    details: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The entry as one flat JSON object."""
        return {
            "id": self.id,
            "at": self.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "kind": self.kind,
            "summary": self.summary,
            **self.details,
        }


class TrafficLog:
    """The newest `limit` entries, in memory. Safe to use from several threads."""

    def __init__(self, limit: int = 1000) -> None:
        self._lock = threading.Lock()
        self._entries: deque[TrafficEntry] = deque(maxlen=limit)
        self._last_id = 0

    def add(self, kind: str, summary: str, **details: Any) -> TrafficEntry:
        """Add an entry; `details` must be representable in JSON and must not change later."""
        with self._lock:
            self._last_id += 1
            entry = TrafficEntry(self._last_id, datetime.now(UTC), kind, summary, details)
            self._entries.append(entry)
            return entry

    def entries(self, after: int = 0) -> list[TrafficEntry]:
        """The entries with an id above `after`, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.id > after]
