"""Staff tasks: what is to do, and the two ways in which one ends."""

from collections.abc import Callable
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
from .mails import task_mail
from .read_only import LedgerAdmin


class NoteForm(forms.Form):
    """Why a task ends: for whoever looks at it later."""

    note = forms.CharField(
        label="What did you do, or why is it not needed? (No names, please: this is kept.)",
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 70}),
    )


class StaffTaskAdmin(LedgerAdmin):
    """Things to do, the open ones first, the oldest of them on top."""

    list_display = ("kind", "agreement", "purchase", "opened_at", "notified_at", "done_at", "resolution")
    list_filter = (("done_at", admin.EmptyFieldListFilter), "kind", "resolution")
    list_select_related = ("agreement", "purchase")
    search_fields = (
        "agreement__reference_number",
        "purchase__reference_number",
        "response__reference_number",
        "response__transaction_id",
    )
    ordering = ("-done_at", "opened_at")
    change_form_template = "perma_payments/admin/staff_task.html"

    def get_urls(self) -> list[URLPattern]:
        """The two ways to end a task, besides Django's pages."""
        return [
            path(
                "<int:task_id>/finish/",
                self._view(staff_tasks.finish, "The task is done."),
                name="perma_payments_stafftask_finish",
            ),
            path(
                "<int:task_id>/withdraw/",
                self._view(staff_tasks.withdraw, "The task is withdrawn."),
                name="perma_payments_stafftask_withdraw",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a task with its instructions and, to those who may end it, the two buttons."""
        task = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if task is not None:
            context = {
                "instructions": task_mail(task).body,
                "note_form": NoteForm(),
                "may_end": task.done_at is None and self._may_end(request),
                "is_cancellation": task.kind == TaskKind.CANCELLATION,
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def _may_end(self, request: HttpRequest) -> bool:
        return request.user.has_perm("perma_payments.change_stafftask")

    def _view(self, end: Callable[..., StaffTask], done: str) -> Callable[..., HttpResponse]:
        @require_POST
        def view(request: HttpRequest, task_id: int) -> HttpResponse:
            if not self._may_end(request):
                raise PermissionDenied
            form = NoteForm(request.POST)
            if not form.is_valid():
                messages.error(request, "Nothing was changed: please write a note of up to 1,000 characters.")
            else:
                try:
                    end(task_id, by=request.user, note=form.cleaned_data["note"], now=timezone.now())
                    messages.success(request, done)
                except staff_tasks.NotOpen:
                    messages.warning(request, "Nothing was changed: the task had ended already.")
                except StaffTask.DoesNotExist:
                    raise Http404 from None
                except OperationalError as error:
                    if not is_locked(error):
                        raise
                    messages.error(
                        request, "Nothing was changed: someone else is at this subscription. Please try again."
                    )
            return HttpResponseRedirect(reverse("admin:perma_payments_stafftask_change", args=[task_id]))

        return self.admin_site.admin_view(view)
