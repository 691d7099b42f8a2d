"""Bodies whose length nobody says beforehand, as the application reads them (tests/test_http.py has real ones)."""

from io import BytesIO

import pytest
from django.core.exceptions import RequestDataTooBig
from django.http import UnreadablePostError
from django.test import RequestFactory

from perma_payments.views import wsgi_request
from perma_payments.views.wsgi_request import Request

from ..conftest import FORM


def request_of(body: bytes, **changes: object) -> Request:
    """A POST in chunks, as a server hands it on; ``changes`` replace parts of it, ``...`` takes one away."""
    environ = {
        **RequestFactory().generic("POST", "/subscribe/", b"", FORM).environ,
        "CONTENT_TYPE": FORM,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        **changes,
    }
    return Request({name: value for name, value in environ.items() if value is not ...})


def test_a_body_is_read_to_its_end():
    assert request_of(b"a=b").body == b"a=b"
    assert request_of(b"a=b", CONTENT_LENGTH="").POST.dict() == {"a": "b"}


@pytest.mark.parametrize(
    "changes",
    [
        {"wsgi.input_terminated": False},
        {"wsgi.input_terminated": ...},
        {"HTTP_TRANSFER_ENCODING": ...},
        {"HTTP_TRANSFER_ENCODING": "gzip, chunked"},
        {"CONTENT_LENGTH": "0"},
    ],
    ids=str,
)
def test_nothing_is_read_if_the_server_does_not_end_the_input(changes):
    assert request_of(b"a=b", **changes).body == b""


def test_a_form_is_read_no_further_than_its_limit():
    stream = BytesIO(b"x" * 10**6)
    with pytest.raises(RequestDataTooBig):
        request_of(b"", **{"wsgi.input": stream}).body  # noqa: B018
    assert stream.tell() == 256 * 1024 + 1


def test_files_are_read_no_further_than_theirs(monkeypatch):
    monkeypatch.setattr(wsgi_request, "MAX_MULTIPART", 200_000)
    head = b'--b\r\nContent-Disposition: form-data; name="report"; filename="x.csv"\r\n\r\n'

    def files(size: int, **changes: object) -> dict[str, object]:
        body = head + b"x" * size + b"\r\n--b--\r\n"
        return request_of(body, CONTENT_TYPE="multipart/form-data; boundary=b", **changes).FILES.dict()

    assert files(190_000)["report"].size == 190_000
    with pytest.raises(RequestDataTooBig):
        files(210_000)
    assert files(1000, CONTENT_LENGTH="200000", HTTP_TRANSFER_ENCODING=...)["report"].size == 1000
    for length in ("200001", "9" * 5000):
        stream = BytesIO(head)
        with pytest.raises(RequestDataTooBig):
            files(1000, **{"CONTENT_LENGTH": length, "HTTP_TRANSFER_ENCODING": ..., "wsgi.input": stream})
        assert stream.tell() == 0


@pytest.mark.parametrize("error", [OSError, ValueError, type("ChunkError", (Exception,), {})])
def test_any_error_about_chunks_is_a_body_that_broke_off(error):
    class Broken(BytesIO):
        def read(self, *args):
            raise error

    with pytest.raises(UnreadablePostError):
        request_of(b"", **{"wsgi.input": Broken()}).body  # noqa: B018
