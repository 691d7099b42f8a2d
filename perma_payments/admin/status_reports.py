"""Status reports: upload, look, confirm, undo."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from ..cybersource.csv_table import UnreadableFile
from ..models import ReportState, StatusReport
from ..postgres.problems import is_locked
from ..services.status_reports.apply import CannotBeDone, apply_report
from ..services.status_reports.plan import plan_report
from ..services.status_reports.revert import revert_report
from ..services.status_reports.warnings import summarize
from .base import ReadOnlyAdmin

CHANGES_PER_PAGE = 200
PROBLEMS_SHOWN = 200

MAX_MEGABYTES = 20

CHOOSE = "Choose the CSV file that you downloaded from the Business Center."
DOWNLOAD_AGAIN = (
    "Download the list of subscriptions from the Business Center as CSV, and upload that file unchanged."
)


class UploadForm(forms.Form):
    """Where the file is chosen."""

    report = forms.FileField(
        label="Report",
        help_text=f"The CSV file of subscriptions, as the Business Center gives it: up to {MAX_MEGABYTES} MB.",
        # The reader says more about what is wrong with a file.
        allow_empty_file=True,
        error_messages={"required": f"No file was chosen. {CHOOSE}", "invalid": f"That was not a file. {CHOOSE}"},
    )

    def clean_report(self) -> UploadedFile:
        """Refuse a file that is too large before it is read."""
        file: UploadedFile = self.cleaned_data["report"]
        if file.size is None or file.size > MAX_MEGABYTES * 1024 * 1024:
            raise forms.ValidationError(
                f"The file is larger than {MAX_MEGABYTES} MB, too large for a status report. Check that it is the "
                "right file, or choose fewer subscriptions in the Business Center."
            )
        return file


@admin.register(StatusReport)
class StatusReportAdmin(ReadOnlyAdmin):
    """Uploads, the newest first; each has a page that says what it would do or did."""

    list_display = (
        "uploaded_at",
        "uploaded_by",
        "state",
        "row_count",
        "matched_count",
        "change_count",
        "applied_at",
        "reverted_at",
    )
    list_select_related = ("uploaded_by",)
    list_filter = ("state",)
    ordering = ("-uploaded_at",)
    change_list_template = "perma_payments/admin/status_uploads.html"

    def get_urls(self) -> list[URLPattern]:
        """Upload, confirm and undo, besides Django's pages."""
        return [
            path("upload/", self.admin_site.admin_view(self.upload), name="perma_payments_statusreport_upload"),
            path(
                "<int:upload_id>/confirm/", self._action(self._confirm), name="perma_payments_statusreport_confirm"
            ),
            path("<int:upload_id>/undo/", self._action(self._undo), name="perma_payments_statusreport_undo"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StatusReport]:
        """Without what may be long, and no list shows."""
        return (
            super()
            .get_queryset(request)
            .defer("unread_rows", "duplicates", "unknown_references", "warnings", "tasks_ended", "tasks_opened")
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a link to the upload page for those who may upload."""
        return super().changelist_view(request, {**(extra_context or {}), "may_upload": self._may_upload(request)})

    def upload(self, request: HttpRequest) -> HttpResponse:
        """Choose a file; a good one leads to its preview, any other back here with a sentence."""
        if not self._may_upload(request):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        if form.is_valid():
            try:
                upload = plan_report(form.cleaned_data["report"].read(), by=_user(request), now=timezone.now())
            except UnreadableFile as error:
                form.add_error("report", f"{error} {DOWNLOAD_AGAIN}")
            else:
                return HttpResponseRedirect(_page_of(upload.pk))
        context = {
            **self.admin_site.each_context(request),
            "title": "Upload a status report",
            "form": form,
            "opts": self.opts,
        }
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
        now = timezone.now()
        # With what get_queryset leaves to the lists, at once.
        upload = StatusReport.objects.select_related("uploaded_by", "applied_by", "reverted_by").get(pk=upload.pk)
        changes = upload.changes().select_related("agreement").order_by("agreement")
        has_expired = upload.has_expired(now)
        may_confirm = upload.state == ReportState.PLANNED and not has_expired and upload.matched_count > 0
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": f"The {upload}",
            "opts": self.opts,
            "upload": upload,
            "has_expired": has_expired,
            "summary": summarize(upload),
            "page": Paginator(changes, CHANGES_PER_PAGE).get_page(request.GET.get("page")),
            "problems": upload.unread_rows[:PROBLEMS_SHOWN],
            "problem_count": len(upload.unread_rows),
            "problems_hidden": len(upload.unread_rows) - PROBLEMS_SHOWN,
            "may_confirm": may_confirm and self._may_upload(request),
            "may_undo": self._may_upload(request) and upload.state == ReportState.APPLIED,
        }
        return TemplateResponse(request, "perma_payments/admin/status_upload.html", context)

    def _may_upload(self, request: HttpRequest) -> bool:
        return request.user.has_perm("perma_payments.upload_statusreport") and self.has_view_permission(request)

    def _confirm(self, request: HttpRequest, upload_id: int) -> str:
        upload = apply_report(
            upload_id,
            revision=_number(request.POST.get("revision", "")),
            by=_user(request),
            leave_out="leave_out" in request.POST,
            now=timezone.now(),
        )
        return f"Confirmed. Subscriptions changed: {upload.change_count:,}."

    def _undo(self, request: HttpRequest, upload_id: int) -> str:
        upload = revert_report(upload_id, by=_user(request), now=timezone.now())
        return f"Undone. Subscriptions that are as they were: {upload.change_count:,}."

    def _action(self, act: Callable[[HttpRequest, int], str]) -> Callable[..., HttpResponse]:
        @require_POST
        def view(request: HttpRequest, upload_id: int) -> HttpResponse:
            if not self._may_upload(request):
                raise PermissionDenied
            try:
                messages.success(request, act(request, upload_id))
            except CannotBeDone as problem:
                messages.error(request, str(problem))
            except StatusReport.DoesNotExist:
                raise Http404 from None
            except OperationalError as error:
                if not is_locked(error):
                    raise
                messages.error(
                    request,
                    "Someone else is changing these subscriptions. Nothing was changed; "
                    "please try again in a minute.",
                )
            return HttpResponseRedirect(_page_of(upload_id))

        return self.admin_site.admin_view(view)


def _number(text: str) -> int:
    """A revision as the form has it; 0, which is none, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # nobody else has a permission
    return request.user


def _page_of(upload_id: int) -> str:
    return reverse("admin:perma_payments_statusreport_change", args=[upload_id])
