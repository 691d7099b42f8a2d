"""Status reports: upload one, check what it would change, confirm or discard it, undo it."""

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import OperationalError
from django.db.models import Count, Q, QuerySet
from django.db.models.fields.json import KT
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.views.decorators.http import require_POST, require_safe

from ..billing.statuses import ALIVE
from ..cybersource.csv_table import UnreadableFile
from ..models import DatabaseRestore, KeptLines, ReportState, StatusReport, StatusReportLine, SubscriptionAgreement
from ..postgres.problems import is_locked
from ..services.status_reports.apply import CannotBeDone, apply_report
from ..services.status_reports.discard import discard_report
from ..services.status_reports.plan import plan_report
from ..services.status_reports.revert import revert_report
from ..services.status_reports.warnings import SERIOUS, Checks, is_from_the_upgrade, missing_from, required_checks
from .base import ReadOnlyAdmin
from .columns import moment
from .links import business_center_url
from .report_changes import RECOVERED, Changes

MAX_UNREAD_ROWS_SHOWN = 200
MAX_MISSING_SHOWN = 200
MAX_MEGABYTES = 20

CHOOSE = "Choose the CSV file that you downloaded from the Business Center."
DOWNLOAD_AGAIN = "Download the list of subscriptions from the Business Center as CSV, and upload it unchanged."

# Columns that no list shows, and that may be long.
LONG_COLUMNS = ("unread_rows", "duplicates", "unknown_references", "warnings", "tasks_ended", "tasks_opened")

# What staff tick before they confirm a report with a serious warning.
TICKS = {
    "same file": "I have checked: this file was uploaded before.",
    "unread rows": "Leave out the {count} row{s} that could not be read.",
    "short": "I have checked: the report has far fewer rows than the last one.",
    "before last": "I have checked: the report was made before the last one.",
    "old": "I have checked: the report is more than three days old.",
    "from the future": "I have checked: the report has a date in the future.",
    "reactivated": "I have checked: {count} subscription{s} would be reactivated.",
    "immediate ending": "I have checked: {count} subscription{s} would end at once.",
    "many endings": "I have checked: {count} of {total} would end.",
    "many changes": "I have checked: {count} of {total} would change status.",
    "missing": "I have checked: {count} of {total} are not in this report.",
}

# What a report says about charges: its words, what they mean to us, and the name of how many lines say so.
CHARGE_NEWS = (
    ("Current", "the last charge succeeded: paid for until the next one", "proven"),
    (
        "Retry",
        "a charge failed, and CyberSource is retrying it: stays Current, and nothing more is paid for",
        "retried",
    ),
    ("Hold", "a charge failed: nothing more is paid for", "failed"),
    ("Suspended", "nothing new about charges", "nothing"),
    ("Canceled, Completed, Superseded", "ended: no more charges", "ended"),
)

# Changes other than those of status and date: how things were, how they are afterward, and the lines that do so.
NEW_STATUS = Q(after__has_key="status")
OTHER_CHANGES = (
    (
        "Canceled, cancellation requested",
        "Canceled, the request is done",
        ~NEW_STATUS & Q(after__has_key="cancellation_requested_at"),
    ),
    ("Without a token", "With the token from the report", Q(after={})),
)


class UploadForm(forms.Form):
    report = forms.FileField(
        label="Report",
        help_text=f"The CSV file of subscriptions, exactly as you downloaded it: up to {MAX_MEGABYTES} MB.",
        # plan_report says more about what is wrong with it.
        allow_empty_file=True,
        error_messages={"required": f"No file was chosen. {CHOOSE}", "invalid": f"That was not a file. {CHOOSE}"},
    )

    def clean_report(self) -> UploadedFile:
        """Refuse a file that is too large, of which uploads.py has kept nothing."""
        file: UploadedFile = self.cleaned_data["report"]
        if file.size is None or file.size > MAX_MEGABYTES * 1024 * 1024:
            raise forms.ValidationError(
                f"The file is larger than {MAX_MEGABYTES} MB, too large for a status report. Check that it is the "
                "right file, or choose fewer subscriptions in the Business Center."
            )
        return file


@admin.register(StatusReport)
class StatusReportAdmin(ReadOnlyAdmin):
    list_display = (
        moment("uploaded_at", "uploaded"),
        "uploaded_by",
        "state",
        "change_count",
        "row_count",
        "matched_count",
        moment("applied_at", "confirmed"),
        moment("reverted_at", "undone"),
    )
    csv_columns = (
        "uploaded_at",
        "uploaded_by",
        "made_on",
        "state",
        "row_count",
        "matched_count",
        "change_count",
        "applied_at",
        "applied_by",
        "reverted_at",
        "reverted_by",
    )
    list_select_related = ("uploaded_by", "applied_by", "reverted_by")
    list_filter = ("state",)
    ordering = ("-uploaded_at",)
    change_list_template = "perma_payments/admin/status_reports.html"
    change_form_template = "perma_payments/admin/status_report.html"

    def get_urls(self) -> list[URLPattern]:
        return [
            path(route, self.admin_site.admin_view(view), name=f"perma_payments_statusreport_{name}")
            for route, view, name in (
                ("upload/", self.upload, "upload"),
                ("<int:pk>/changes.csv", require_safe(self.changes_as_csv), "changes_csv"),
                ("<int:pk>/confirm/", require_POST(self.confirm), "confirm"),
                ("<int:pk>/discard/", require_POST(self.discard), "discard"),
                ("<int:pk>/undo/", require_POST(self.undo), "undo"),
            )
        ] + super().get_urls()

    def get_queryset(self, request: HttpRequest) -> QuerySet[StatusReport]:
        return super().get_queryset(request).defer(*LONG_COLUMNS)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a link to the upload page for those who may upload."""
        return super().changelist_view(request, {**(extra_context or {}), "may_upload": may_upload(request)})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self.has_view_permission(request) and self.get_object(request, object_id) is None:
            raise Http404
        return super().change_view(request, object_id, form_url, extra_context)

    def get_context(self, request: HttpRequest, row: StatusReport) -> dict[str, Any]:
        """What a report would do, or did."""
        row.refresh_from_db(fields=LONG_COLUMNS)
        now = timezone.now()
        has_expired = row.has_expired(now)
        is_compared = row.state == ReportState.PLANNED and row.matched_count > 0
        missing = missing_from(row, now=now) if is_compared else SubscriptionAgreement.objects.none()
        earlier = StatusReport.objects.in_bulk([each["report"] for each in row.warnings if each["report"]])
        is_too_old = row.kept_lines == KeptLines.EXCEPTIONS
        is_stopped = row.state == ReportState.PLANNED and is_from_the_upgrade(row)
        return {
            "title": f"The {row}",
            "subtitle": None,
            "report": row,
            "has_expired": has_expired,
            "may_confirm": may_upload(request)
            and row.state == ReportState.PLANNED
            and not has_expired
            and row.matched_count > 0
            and not is_stopped,
            "is_stopped": is_stopped,
            "may_discard": may_upload(request) and row.state == ReportState.PLANNED,
            "ticks": [(each["kind"], _tick(each)) for each in row.warnings if each["kind"] in SERIOUS],
            "endings": required_checks(row).endings,
            "may_undo": may_upload(request) and row.state == ReportState.APPLIED and not is_too_old,
            "warnings": [
                {**each, "report": earlier.get(each["report"]), "examples": _links(each["examples"])}
                for each in row.warnings
            ],
            "unread_rows": row.unread_rows[:MAX_UNREAD_ROWS_SHOWN],
            "unread_hidden": len(row.unread_rows) - MAX_UNREAD_ROWS_SHOWN,
            "charge_news": [
                (words, meaning, row.charge_counts[name])
                for words, meaning, name in CHARGE_NEWS
                if row.charge_counts.get(name)
            ],
            "changes": [
                *_status_changes(row),
                *(
                    [("Current", "Current, paid for until a later date", row.dates_count)]
                    if row.dates_count
                    else []
                ),
                *_counted(row.changes(), OTHER_CHANGES),
            ],
            "hidden": row.hidden_count(),
            "is_too_old": is_too_old,
            "may_be_lost": DatabaseRestore.objects.exists(),
            "recovered": row.changes().filter(RECOVERED).count(),
            "recovered_without_token": row.changes()
            .filter(RECOVERED, after__status__in=ALIVE, takes_token=False)
            .count(),
            **Changes(row, request.GET).context(),
            "missing": missing[:MAX_MISSING_SHOWN],
            "missing_count": missing.count(),
        }

    def upload(self, request: HttpRequest) -> HttpResponse:
        """Upload a file. If it can be read, its preview comes next; if not, the form says why."""
        if not may_upload(request):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        if form.is_valid():
            try:
                data = form.cleaned_data["report"].read()
                report = plan_report(data, by=request.user, now=timezone.now())  # type: ignore[arg-type]
            except UnreadableFile as error:
                form.add_error("report", f"{error} {DOWNLOAD_AGAIN}")
            else:
                return _to_page(report.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "Upload a status report",
            "business_center_url": business_center_url(),
            "form": form,
            "opts": self.opts,
        }
        return TemplateResponse(request, "perma_payments/admin/status_report_upload.html", context)

    def changes_as_csv(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """All pages of the list of changes on a report's page, as the query string filters and sorts it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        report = get_object_or_404(StatusReport, pk=pk)
        return Changes(report, request.GET).csv(now=timezone.now())

    def confirm(self, request: HttpRequest, pk: int) -> HttpResponse:
        checks = Checks(frozenset(request.POST.getlist("checked")), _number(request, "endings"))

        def apply() -> str:
            report = apply_report(
                pk,
                revision=_number(request, "revision") or 0,
                by=request.user,  # type: ignore[arg-type]
                checks=checks,
                now=timezone.now(),
            )
            return f"Confirmed. {_subscriptions_were(report.change_count)} changed."

        return self._act(request, pk, apply)

    def discard(self, request: HttpRequest, pk: int) -> HttpResponse:
        def discard() -> str:
            discard_report(pk, by=request.user, now=timezone.now())  # type: ignore[arg-type]
            return "Discarded. Nothing was changed."

        return self._act(request, pk, discard)

    def undo(self, request: HttpRequest, pk: int) -> HttpResponse:
        def revert() -> str:
            report = revert_report(pk, by=request.user, now=timezone.now())  # type: ignore[arg-type]
            return f"Undone. {_subscriptions_were(report.change_count)} restored."

        return self._act(request, pk, revert)

    def _act(self, request: HttpRequest, pk: int, service: Callable[[], str]) -> HttpResponse:
        if not may_upload(request):
            raise PermissionDenied
        try:
            messages.success(request, service())
        except CannotBeDone as error:
            messages.error(request, str(error))
        except StatusReport.DoesNotExist:
            # Or there never was one.
            messages.error(request, f"Nothing was changed: this preview was more than a day old. {DOWNLOAD_AGAIN}")
            return HttpResponseRedirect(reverse("admin:perma_payments_statusreport_changelist"))
        except OperationalError as error:
            if not is_locked(error):
                raise
            messages.error(
                request,
                "Someone else is changing these subscriptions. Nothing was changed; please try again in a minute.",
            )
        return _to_page(pk)


def may_upload(request: HttpRequest) -> bool:
    """Whether a user of the admin has the permissions to upload a report."""
    permissions = ("perma_payments.view_statusreport", "perma_payments.upload_statusreport")
    return all(request.user.has_perm(permission) for permission in permissions)


def _number(request: HttpRequest, name: str) -> int | None:
    """A number that was typed, with or without separators."""
    written = re.sub(r"[\s,]", "", request.POST.get(name, ""))
    return int(written) if re.fullmatch("[0-9]{1,9}", written) else None


def _tick(warning: dict[str, Any]) -> str:
    count, total = warning["count"], warning["total"]
    s = "" if count == 1 else "s"
    return TICKS[warning["kind"]].format(count=f"{count:,}", total=f"{total:,}", s=s)


def _to_page(pk: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:perma_payments_statusreport_change", args=[pk]))


def _links(reference_numbers: list[str]) -> str:
    """Links to the subscriptions that a warning names."""
    found_at = reverse("admin:perma_payments_subscriptionagreement_changelist")
    each = ((found_at, name, name) for name in reference_numbers)
    return format_html_join(", ", '<a href="{}?q={}">{}</a>', each)


def _subscriptions_were(count: int) -> str:
    return "1 subscription was" if count == 1 else f"{count:,} subscriptions were"


def _status_changes(report: StatusReport) -> list[tuple[str, str, int]]:
    """How many subscriptions go from which status to which."""
    changes = report.changes().filter(NEW_STATUS).annotate(old=KT("before__status"), new=KT("after__status"))
    return sorted(changes.values_list("old", "new").annotate(count=Count("pk")))


def _counted(
    lines: QuerySet[StatusReportLine], rows: tuple[tuple[str, str, Q], ...]
) -> list[tuple[str, str, int]]:
    """The table rows that have lines, each with their number."""
    counts = lines.aggregate(**{f"row_{at}": Count("pk", filter=which) for at, (_, _, which) in enumerate(rows)})
    return [(left, right, counts[f"row_{at}"]) for at, (left, right, _) in enumerate(rows) if counts[f"row_{at}"]]
