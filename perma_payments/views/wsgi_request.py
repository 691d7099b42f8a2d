"""Requests as clients really send them: with any Content-Type, and with bodies of unannounced length.

A body with ``Transfer-Encoding: chunked`` has no ``CONTENT_LENGTH``, and Django's own WSGI request then reads
none at all. A server that sets ``wsgi.input_terminated``, as Gunicorn does, ends the input where the body ends,
so there it can be read to its end, within the limits that hold for every body.

Gunicorn also takes a prefix of all paths from a header named SCRIPT_NAME. No header decides that here.
"""

import os
from io import IOBase
from typing import Any, BinaryIO

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpResponseBase, QueryDict
from django.utils.datastructures import MultiValueDict

from .. import request_log

# Bytes of a multipart body: more than any status report may have.
MAX_MULTIPART = 64 * 1024 * 1024


class Request(WSGIRequest):
    """A request whose body may come in chunks, and whose Content-Type may be anything."""

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ)
        if _is_chunked(environ):
            self._stream: IOBase = ChunkedBody(environ["wsgi.input"])  # type: ignore[assignment]

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        # Django calls this where nothing catches its errors.
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except (LookupError, ValueError):
            # An unknown or impossible encoding. No route takes a body of no type.
            self.content_type, self.content_params = "", {}
        # Our pages and their forms are in UTF-8. In another encoding that a client names, such as UTF-7, a form
        # can hold halves of characters, which neither PostgreSQL nor a password hasher can take.
        self._encoding = None

    def parse_file_upload(self, META: Any, post_data: Any) -> "tuple[QueryDict, MultiValueDict[str, Any]]":
        """See HttpRequest. Django's parser reads nothing where there is no length, and has no limit of its own.

        Raises RequestDataTooBig for more than 64 MB, before it reads any if the length is announced.
        """
        length = str(META.get("CONTENT_LENGTH") or "")
        if length.isdecimal() and (len(length) > 18 or int(length) > MAX_MULTIPART):
            raise RequestDataTooBig("A multipart body is too long.")
        if _is_chunked(META):
            # Only says that the file may be too large for memory; the parser reads to the end.
            META = {**META, "CONTENT_LENGTH": settings.FILE_UPLOAD_MAX_MEMORY_SIZE + 1}
        return super().parse_file_upload(META, post_data)


class ChunkedBody(IOBase):
    """The input of a server that ends it where the body ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._input = stream
        self._length = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes. Raises OSError for a body that breaks off, or for malformed chunks.

        Raises RequestDataTooBig beyond 64 MB. A form ends far earlier: Django reads no more of it than
        DATA_UPLOAD_MAX_MEMORY_SIZE.
        """
        at_most = MAX_MULTIPART + 1 - self._length
        try:
            data = self._input.read(at_most if size < 0 else min(size, at_most))
        except OSError:
            raise
        except Exception as error:  # each server has its own for chunks that it cannot read
            raise OSError(type(error).__name__) from None
        self._length += len(data)
        if self._length > MAX_MULTIPART:
            raise RequestDataTooBig("A multipart body is too long.")
        return data


class Application(WSGIHandler):
    """Django's, with our request class, an id and a line in the log for each request, and no body after HEAD."""

    request_class = Request

    def __call__(self, environ: dict[str, Any], start_response: Any) -> HttpResponseBase:
        """See WSGIHandler."""
        _split_path(environ)
        request_log.begin(environ)
        return super().__call__(environ, start_response)

    def get_response(self, request: Any) -> HttpResponseBase:
        """See BaseHandler. An answer to HEAD keeps the Content-Length that the one to GET would have."""
        response = super().get_response(request)
        if request.method == "HEAD":
            if response.streaming:
                response.streaming_content = []  # type: ignore[attr-defined]
            else:
                response.content = b""  # type: ignore[attr-defined]
        response["X-Request-Id"] = request_log.request_id()
        request_log.write(request, response)
        return response


def _is_chunked(environ: dict[str, Any]) -> bool:
    """Whether a body comes in chunks, and the server says that it ends the input where they end."""
    return (
        bool(environ.get("wsgi.input_terminated"))
        and not environ.get("CONTENT_LENGTH")
        and str(environ.get("HTTP_TRANSFER_ENCODING", "")).strip().lower() == "chunked"
    )


def _split_path(environ: dict[str, Any]) -> None:
    """Split the path into prefix and rest, by the prefix that the operator gave this process as SCRIPT_NAME.

    By that of a header, /x/admin/ would be the admin, past a proxy that bans /admin/.
    """
    prefix = os.environ.get("SCRIPT_NAME", "")
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    environ["SCRIPT_NAME"] = prefix
    # A path that is not below our prefix leads nowhere: none of ours begins with two slashes.
    environ["PATH_INFO"] = path.removeprefix(prefix) if path.startswith(prefix) else f"/{path}"
