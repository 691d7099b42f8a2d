"""``manage.py recreate_checkout``: record again a checkout that was lost when the database was restored."""

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...billing.coverage import midnight
from ...billing.transactions import Kind
from ...perma.box import Refusal
from ...services.checkouts.recreate import MESSAGES, CannotRecreate, recreate_checkout

WHOLE_NUMBERS = ("customer_pk", "link_quantity")
EFFECTIVE = "link_limit_effective_timestamp"


class Command(BaseCommand):
    help = (
        "Record again, as not paid, a checkout that was lost when the database was restored. Then record its "
        "payment in the admin, or upload a status report. See docs/backup.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=[str(kind) for kind in MESSAGES])
        parser.add_argument("reference_number", help="CyberSource's Merchant Reference Number, PERMA-1234-5678")
        parser.add_argument(
            "--on", required=True, type=date.fromisoformat, help="the day on which it began, as in 2026-11-28"
        )
        parser.add_argument(
            "fields",
            nargs="+",
            metavar="name=value",
            help="the fields of Perma.cc's message, as in customer_type=Registrar customer_pk=7 amount=45.00; "
            f"{EFFECTIVE} is a day, by default that of --on",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        kind, begun_on = Kind(options["kind"]), options["on"]
        fields: dict[str, object] = {}
        for field in options["fields"]:
            name, _, value = field.partition("=")
            fields[name] = int(value) if name in WHOLE_NUMBERS and value.isdecimal() else value
        try:
            if kind != Kind.PURCHASE:
                fields[EFFECTIVE] = midnight(date.fromisoformat(str(fields.get(EFFECTIVE, begun_on)))).timestamp()
            outgoing = recreate_checkout(
                kind, options["reference_number"], fields, begun_on=begun_on, now=timezone.now()
            )
        except CannotRecreate as error:
            raise CommandError(f"Nothing was recorded. {error}") from None
        except (Refusal, ValueError) as error:
            raise CommandError(f"Nothing was recorded: {error}.") from None
        self.stdout.write(
            f"Recorded as not paid: {outgoing.label}, of {outgoing.customer}. In the admin, search for the "
            "reference number, open the checkout, and choose Record as paid."
        )
