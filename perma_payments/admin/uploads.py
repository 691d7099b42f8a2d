"""Where uploaded files go: into memory if their sender may upload a status report, and nowhere otherwise.

Django's own handlers write files to the disk as they arrive, from strangers, too: it reads a whole form for the
token that protects against forgery, before any view can ask who sent it. And status reports hold names, which no
disk needs.
"""

from io import BytesIO
from typing import Any

from django.contrib.admin import site
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.db import Error
from django.http import HttpRequest

from .status_reports import MAX_MEGABYTES, may_upload


class ReportUpload(FileUploadHandler):
    """Keeps a status report of up to 20 MB, in memory. Of any other file, only the size that came is known."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._kept = BytesIO()
        self._keeps = self.request is not None and _is_welcome(self.request)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """See FileUploadHandler."""
        if start + len(raw_data) > MAX_MEGABYTES * 1024 * 1024:
            self._keeps = False
            self._kept = BytesIO()
        if self._keeps:
            self._kept.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        """The file, perhaps without its content: views see that there was one, and how long it was."""
        self._kept.seek(0)
        return UploadedFile(
            self._kept, self.file_name, self.content_type, file_size, self.charset, self.content_type_extra
        )


def _is_welcome(request: HttpRequest) -> bool:
    """Whether a request comes from someone who may upload a report, and to where reports are uploaded."""
    match = request.resolver_match
    if match is None or match.view_name != "admin:perma_payments_statusreport_upload":
        return False
    try:
        return site.has_permission(request) and may_upload(request)
    except Error:
        return False  # The view will ask the database again, and say what is wrong.
