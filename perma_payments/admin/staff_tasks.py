"""Staff tasks: what to do, and the two ways to end one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from ..models import StaffTask, TaskKind
from ..postgres.problems import is_locked
from ..services import staff_tasks
from .base import ReadOnlyAdmin
from .mails import task_mail


class NoteForm(forms.Form):
    note = forms.CharField(
        label="What did you do, or why is it not needed? This note is kept, so please don't include names.",
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 70}),
    )


@admin.register(StaffTask)
class StaffTaskAdmin(ReadOnlyAdmin):
    list_display = ("kind", "agreement", "purchase", "opened_at", "notified_at", "done_at", "resolution")
    list_filter = (("done_at", admin.EmptyFieldListFilter), "kind", "resolution")
    list_select_related = ("agreement", "purchase")
    search_fields = (
        "agreement__reference_number",
        "purchase__reference_number",
        "response__reference_number",
        "response__transaction_id",
    )
    # Open ones first, the oldest on top.
    ordering = ("-done_at", "opened_at")
    change_form_template = "perma_payments/admin/staff_task.html"

    def get_urls(self) -> list[URLPattern]:
        ends = [
            ("finish", staff_tasks.finish, "The task is done."),
            ("withdraw", staff_tasks.withdraw, "The task is withdrawn."),
        ]
        return [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(require_POST(partial(self.end, service, success))),
                name=f"perma_payments_stafftask_{name}",
            )
            for name, service, success in ends
        ] + super().get_urls()

    def get_context(self, request: HttpRequest, row: StaffTask) -> dict[str, Any]:
        """The instructions and, for users who may end an open task, the form."""
        return {
            "instructions": task_mail(row).body,
            "note_form": NoteForm(),
            "may_end": row.done_at is None and _may_end(request),
            "is_cancellation": row.kind == TaskKind.CANCELLATION,
        }

    def end(self, service: Callable[..., object], success: str, request: HttpRequest, pk: int) -> HttpResponse:
        if not _may_end(request):
            raise PermissionDenied
        form = NoteForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Nothing was changed: please write a note of up to 1,000 characters.")
        else:
            try:
                service(pk, by=request.user, note=form.cleaned_data["note"], now=timezone.now())
                messages.success(request, success)
            except staff_tasks.NotOpen:
                messages.warning(request, "Nothing was changed: the task had already ended.")
            except StaffTask.DoesNotExist:
                raise Http404 from None
            except OperationalError as error:
                if not is_locked(error):
                    raise
                messages.error(
                    request, "Nothing was changed: someone else is changing this. Please try again in a minute."
                )
        return HttpResponseRedirect(reverse("admin:perma_payments_stafftask_change", args=[pk]))


def _may_end(request: HttpRequest) -> bool:
    return request.user.has_perm("perma_payments.change_stafftask")
