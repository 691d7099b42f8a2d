"""Staff tasks: what to do, who is on it, and the ways to end one, and to open it again."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_POST

from ..models import Resolution, StaffTask, TaskKind
from ..postgres.problems import is_locked
from ..services import staff_tasks
from ..services.corrections import CannotCorrect, offer_again
from .base import ReadOnlyAdmin
from .columns import customer, moment, subject
from .mails import task_mail
from .search import FIELDS, HELP


class NoteForm(forms.Form):
    note = forms.CharField(max_length=1000, widget=forms.Textarea(attrs={"rows": 3, "cols": 70}))


@dataclass(frozen=True)
class Section:
    """A part of a task's mail: paragraphs, numbered steps, and paragraphs after them."""

    title: str
    before: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def sections(body: str) -> list[Section]:
    """The parts of a task's mail, which begin with titles in capitals (templates/perma_payments/mail/base.txt)."""
    _, *parts = re.split(r"^([A-Z ]{9,})$", body, flags=re.MULTILINE)
    found = []
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        section = Section(capfirst(title.lower()))
        for paragraph in re.split(r"\n\s*\n|\n(?=[0-9]+\. )|\n(?=[A-Z][\w' ]+: )", text.strip()):
            words = " ".join(paragraph.split())
            step = re.fullmatch(r"[0-9]+\. (.+)", words)
            if step:
                section.steps.append(step[1])
            elif words and not words.startswith("This task: "):  # the page is the task's own
                (section.after if section.steps else section.before).append(words)
        found.append(section)
    return found


@admin.register(StaffTask)
class StaffTaskAdmin(ReadOnlyAdmin):
    list_display = (
        "kind",
        subject,
        moment("done_at", "ended"),
        moment("opened_at", "opened"),
        "claimed_by",
        customer,
        "done_by",
        "resolution",
    )
    csv_columns = (
        "kind",
        "reference_number",
        "customer",
        "opened_at",
        "notified_at",
        "done_at",
        "done_by",
        "resolution",
        "note",
    )
    list_filter = (("done_at", admin.EmptyFieldListFilter), "kind", "resolution")
    list_select_related = ("agreement", "purchase", "response", "claimed_by", "done_by")
    search_fields, search_help_text = FIELDS, HELP
    # Open ones first, the oldest on top.
    ordering = ("-done_at", "opened_at")
    change_form_template = "perma_payments/admin/staff_task.html"

    def get_urls(self) -> list[URLPattern]:
        acts: dict[str, tuple[Callable[..., object], str]] = {
            "finish": (staff_tasks.finish, "The task is done."),
            "withdraw": (staff_tasks.withdraw, "The task is withdrawn."),
            "reopen": (staff_tasks.reopen, "The task is open again."),
            "offer": (offer_again, "The task is done, and the links are offered to Perma.cc again."),
            "claim": (staff_tasks.claim, "You are on it. Your colleagues see that."),
            "release": (staff_tasks.release, "Nobody is on it now."),
        }
        return [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(require_POST(partial(self.act, name, service, success))),
                name=f"perma_payments_stafftask_{name}",
            )
            for name, (service, success) in acts.items()
        ] + super().get_urls()

    def get_context(self, request: HttpRequest, row: StaffTask) -> dict[str, Any]:
        """The instructions, the buttons for users who may act, and the task that comes next."""
        is_cancellation = row.kind == TaskKind.CANCELLATION
        others = StaffTask.objects.filter(done_at=None, claimed_by=None).exclude(pk=row.pk)
        return {
            "title": row.get_kind_display(),
            "subtitle": row.reference_number or None,
            "task": row,
            "age": row.age_in_days(timezone.now()),
            "sections": sections(task_mail(row).body),
            "note": NoteForm()["note"],
            "may_act": _may_act(request),
            "is_cancellation": is_cancellation,
            "may_offer": row.kind == TaskKind.ACKNOWLEDGEMENT_IN_DOUBT and _may_offer(request),
            # What the customer has taken back says so itself.
            "is_over": row.done_at is not None and row.resolution != Resolution.TAKEN_BACK,
            "is_checked_by_report": row.resolution == Resolution.DONE
            and row.kind in (TaskKind.CANCELLATION, TaskKind.STILL_CHARGED),
            # A request that was withdrawn takes another request.
            "may_reopen": not is_cancellation or (row.agreement and row.agreement.cancellation_requested_at),
            "is_mine": row.claimed_by == request.user,
            "next_task": others.order_by("opened_at", "id").first(),
        }

    def act(
        self, name: str, service: Callable[..., object], success: str, request: HttpRequest, pk: int
    ) -> HttpResponse:
        if not _may_act(request) or (name == "offer" and not _may_offer(request)):
            raise PermissionDenied
        arguments: dict[str, Any] = {"by": request.user}
        if name != "release":
            arguments["now"] = timezone.now()
        form = NoteForm(request.POST)
        if name in ("claim", "release"):
            self._act(request, partial(service, pk, **arguments), success)
        elif not form.is_valid():
            messages.error(request, "Nothing was changed: please write a note of up to 1,000 characters.")
        else:
            self._act(request, partial(service, pk, note=form.cleaned_data["note"], **arguments), success)
        return HttpResponseRedirect(reverse("admin:perma_payments_stafftask_change", args=[pk]))

    def _act(self, request: HttpRequest, service: Callable[[], object], success: str) -> None:
        try:
            service()
            messages.success(request, success)
        except staff_tasks.NotOpen:
            messages.warning(request, "Nothing was changed: the task had already ended.")
        except staff_tasks.Claimed as claimed:
            messages.warning(request, f"Nothing was changed: {claimed.by} is already on it.")
        except (staff_tasks.CannotReopen, CannotCorrect) as problem:
            messages.warning(request, f"Nothing was changed. {problem}")
        except StaffTask.DoesNotExist:
            raise Http404 from None
        except OperationalError as error:
            if not is_locked(error):
                raise
            messages.error(
                request, "Nothing was changed: someone else is changing this. Please try again in a minute."
            )


def _may_offer(request: HttpRequest) -> bool:
    return request.user.has_perm("perma_payments.correct_purchase")


def _may_act(request: HttpRequest) -> bool:
    return request.user.has_perm("perma_payments.change_stafftask")
