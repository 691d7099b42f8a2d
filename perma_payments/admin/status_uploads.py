"""Status reports: upload, look, confirm, undo."""
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from ..cybersource.status_report import MAX_BYTES, UnreadableReport
from ..models import StatusUpload, UploadState
from ..services import upload_statuses
from ..services.upload_summary import summarize
from .ledger import LedgerAdmin

CHANGES_PER_PAGE = 200
PROBLEMS_SHOWN = 200


class UploadForm(forms.Form):
    """Where the file is chosen."""

    report = forms.FileField(
        label="Report", help_text="The CSV file of subscriptions, as the Business Center gives it: up to 20 MB."
    )


class StatusUploadAdmin(LedgerAdmin):
    """Uploads, the newest first; each has a page that says what it would do or did."""

    list_display = (
        "uploaded_at", "uploaded_by", "state", "row_count", "matched_count", "confirmed_at", "undone_at",
    )
    list_filter = ("state",)
    ordering = ("-uploaded_at",)
    change_list_template = "perma_payments/admin/status_uploads.html"

    def get_urls(self) -> list[URLPattern]:
        """Upload, confirm and undo, besides Django's pages."""
        return [
            path("upload/", self.admin_site.admin_view(self.upload), name="perma_payments_statusupload_upload"),
            path("<int:upload_id>/confirm/", self._action(self._confirm),
                 name="perma_payments_statusupload_confirm"),
            path("<int:upload_id>/undo/", self._action(self._undo), name="perma_payments_statusupload_undo"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a link to the upload page for those who may upload."""
        return super().changelist_view(request, {**(extra_context or {}), "may_upload": self._may_upload(request)})

    def upload(self, request: HttpRequest) -> HttpResponse:
        """Choose a file; a good one leads to its preview, any other back here with a sentence."""
        if not self._may_upload(request):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        if form.is_valid():
            # One byte more than is allowed says that it is too much.
            data = form.cleaned_data["report"].read(MAX_BYTES + 1)
            try:
                upload = upload_statuses.preview(data, by=_user(request), now=timezone.now())
            except UnreadableReport as problem:
                form.add_error("report", str(problem))
            else:
                return HttpResponseRedirect(_page_of(upload.pk))
        context = {**self.admin_site.each_context(request), "title": "Upload a status report", "form": form,
                   "opts": self.opts}
        return TemplateResponse(request, "perma_payments/admin/upload.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What an upload would do, or did."""
        upload = self.get_object(request, object_id)
        if upload is None:
            raise Http404
        if not self.has_view_permission(request, upload):
            raise PermissionDenied
        summary = summarize(upload, now=timezone.now())
        page = Paginator(summary.changes, CHANGES_PER_PAGE).get_page(request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request), **(extra_context or {}),
            "title": f"The {upload}", "opts": self.opts,
            "upload": upload, "summary": summary, "page": page,
            "problems": upload.problems[:PROBLEMS_SHOWN], "problems_hidden": len(upload.problems) - PROBLEMS_SHOWN,
            "may_confirm": self._may_upload(request) and upload.state == UploadState.PREVIEWED,
            "may_undo": self._may_upload(request) and upload.state == UploadState.CONFIRMED,
        }
        return TemplateResponse(request, "perma_payments/admin/status_upload.html", context)

    def _may_upload(self, request: HttpRequest) -> bool:
        return request.user.has_perm("perma_payments.upload_statuses")

    def _confirm(self, request: HttpRequest, upload_id: int) -> str:
        upload = upload_statuses.confirm(
            upload_id, by=_user(request), leave_out="leave_out" in request.POST, now=timezone.now()
        )
        return f"Confirmed. Subscriptions changed: {len(upload.changes)}."

    def _undo(self, request: HttpRequest, upload_id: int) -> str:
        upload = upload_statuses.undo(upload_id, by=_user(request), now=timezone.now())
        return f"Undone. Subscriptions that are as they were: {len(upload.changes)}."

    def _action(self, act: Callable[[HttpRequest, int], str]) -> Callable[..., HttpResponse]:
        @require_POST
        def view(request: HttpRequest, upload_id: int) -> HttpResponse:
            if not self._may_upload(request):
                raise PermissionDenied
            try:
                messages.success(request, act(request, upload_id))
            except upload_statuses.CannotBeDone as problem:
                messages.error(request, str(problem))
            except StatusUpload.DoesNotExist:
                raise Http404 from None
            except OperationalError:
                messages.error(request, "Someone else is changing these subscriptions. Nothing was changed; "
                                        "please try again in a minute.")
            return HttpResponseRedirect(_page_of(upload_id))

        return self.admin_site.admin_view(view)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # nobody else has a permission
    return request.user


def _page_of(upload_id: int) -> str:
    return reverse("admin:perma_payments_statusupload_change", args=[upload_id])
