"""`fab chaos`: a storm, then quiet, then the verdict."""

import itertools
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from devtools import TaskError
from sandbox.mail.mailbox import Mode
from sandbox.perma.client import Unavailable
from sandbox.perma.store import Customer

from .customers import Town, crowd
from .faults import KILLS, MAIL_FAULTS, Trouble, name_of, restart_postgresql
from .ledger import read_ledger
from .record import Record, Told
from .verdict import Verdict, compare, promises_kept
from .world import NEW_KEY, World, running_world

AT_ONCE = 12  # customers
LAST_CUSTOMERS = 20  # those who come while the old key is taken away, after the storm
# Generous limits, for busy machines. What is waited for usually takes seconds.
SECONDS_TO_APPLY = 240.0
SECONDS_TO_MAIL = 300.0
SECONDS_TO_TELL = 60.0
SHOWN = 20  # sentences of each kind
TRACE_LINES = 60


def chaos(*, minutes: float, seed: int) -> bool:
    """Run it; return whether nothing was lost, doubled or otherwise wrong. Raises TaskError."""
    began = time.monotonic()
    print(f"Seed {seed}: starting PostgreSQL, two web servers and two schedulers ...", flush=True)
    record = Record()
    with running_world() as world:
        town = Town(world, record, seed)
        numbers = itertools.count(1)
        storm(town, lambda: next(numbers), seconds=60 * minutes, seed=seed)
        world.wait_until_it_answers()
        verdict = settle(town, lambda: next(numbers))
        for process in world.processes:
            if traces := stack_traces(process.printed()):
                verdict.wrong.append(f"{process.name} printed {len(traces)} stack traces. The last: {traces[-1]}")
        print(report(record, verdict, world.mailbox.conversations, seconds=time.monotonic() - began), flush=True)
    return verdict.is_good


def storm(town: Town, number: Callable[[], int], *, seconds: float, seed: int) -> None:
    """Customers and faults at the same time, until the time is over and every fault has happened."""
    # Time to recover between two faults, and time for all of them in a short run.
    trouble = Trouble(town.world, town.record, seed=seed, pause=min(2.5, seconds / 50))
    end = time.monotonic() + seconds
    trouble.begin()
    try:
        crowd(
            town,
            at_once=AT_ONCE,
            numbers=number,
            is_over=lambda: time.monotonic() > end and trouble.had_all.is_set(),
        )
    finally:
        trouble.end()


def settle(town: Town, number: Callable[[], int]) -> Verdict:
    """Let the service finish what was left, bring what CyberSource has not brought, and compare.

    Meanwhile the old security key is taken away, in a rolling restart under traffic without faults.
    """
    world, record = town.world, town.record
    print("The faults are over. Bringing again what was not answered with 200 ...", flush=True)
    town.couriers.shutdown()  # after the last deliveries
    first = promises_kept(record, read_ledger(world.database))
    bring_again(town)
    print("Taking the old security key away, one web server after the other ...", flush=True)
    town.couriers = ThreadPoolExecutor(64)
    restart = ThreadPoolExecutor(1).submit(world.restart_one_after_the_other, (NEW_KEY,))
    left = iter(range(LAST_CUSTOMERS))
    crowd(town, at_once=4, numbers=number, is_over=lambda: restart.done() and next(left, None) is None)
    restart.result()
    town.couriers.shutdown()
    bring_again(town)
    print("Waiting until everything is applied and mailed ...", flush=True)
    wait_until_applied(world)
    wait_until_mailed(world)
    print("Comparing ...", flush=True)
    verdict = compare(
        record,
        read_ledger(world.database),
        ask_about(town, record.customers),
        [mail.message_id for mail in world.mailbox.mails()],
    )
    verdict.lost = first.lost + verdict.lost
    verdict.doubled = first.doubled + verdict.doubled
    verdict.wrong = first.wrong + verdict.wrong
    return verdict


def wait_until_applied(world: World) -> None:
    """The schedulers retry every minute. What is not applied in time is for the verdict to say."""
    unapplied = "SELECT NOT EXISTS (SELECT FROM perma_payments_response WHERE applied_at IS NULL)"
    wait_for(lambda: world.database.ask(unapplied), SECONDS_TO_APPLY)


def bring_again(town: Town) -> None:
    """Bring what the service has not promised to have, as CyberSource may; now it must be taken."""
    rng = random.Random(town.seed)
    for checkout, response in town.record.responses():
        if not response.promised:
            town.record.count("responses not answered with 200, so CyberSource's to bring again")
            wait_for(partial(town.bring_by_server, response, rng), SECONDS_TO_TELL)
            if not response.promised:
                town.record.objections.append(f"{response.decision} of {checkout.uuid} was not taken in the end")


def wait_until_mailed(world: World) -> None:
    """Mail that may have arrived is sent again after an hour at the earliest. Let that time pass, and wait."""
    world.database.rows(
        "UPDATE perma_payments_stafftask SET mail_due_at = now()"
        " WHERE notified_at IS NULL AND mail_due_at > now() RETURNING id"
    )
    unmailed = (
        "SELECT NOT EXISTS (SELECT FROM perma_payments_stafftask"
        " WHERE (done_at IS NULL OR resolution = 'taken back') AND notified_at IS NULL)"
    )
    wait_for(lambda: world.database.ask(unmailed), SECONDS_TO_MAIL)


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until the condition holds, but no longer than so many seconds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.5)


def ask_about(town: Town, customers: list[Customer]) -> dict[Customer, Told]:
    """What the service tells Perma.cc about each customer now. Raises TaskError if it tells nothing."""

    def ask(customer: Customer) -> Told:
        rng = random.Random(customer.pk)
        end = time.monotonic() + SECONDS_TO_TELL
        while True:
            perma = town.perma(rng)
            try:
                status, history = perma.status_of(customer), perma.history_of(customer)
            except Unavailable as error:
                if time.monotonic() > end:
                    raise TaskError(f"Perma.cc is told nothing about {customer.key}: {error}.") from None
                continue
            subscription = status.subscription
            return Told(
                subscription=None
                if subscription is None
                else (subscription.status, subscription.plan, subscription.pending is not None),
                offered=[(purchase.id, purchase.link_quantity) for purchase in status.purchases],
                history=[(purchase.id, purchase.link_quantity) for purchase in history],
            )

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(customers, pool.map(ask, customers), strict=True))


def stack_traces(log: str) -> list[str]:
    """The stack traces in a log, each from the line before it on."""
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most")]
    return ["\n".join(lines[max(start - 1, 0) : start + TRACE_LINES]) for start in starts]


def report(record: Record, verdict: Verdict, mails: Mapping[Mode, int], *, seconds: float) -> str:
    """What happened, and the verdict."""
    figures = {"customers": len(record.customers), **dict(sorted(record.figures.items()))}
    figures |= {f"mail server {mode.value}: conversations": mails[mode] for mode in MAIL_FAULTS}
    figures["kills"] = sum(record.figures[f"fault: {name_of(kill)}"] for kill in KILLS)
    figures["hard restarts of PostgreSQL"] = record.figures[f"fault: {name_of(restart_postgresql)}"]
    figures |= dict(sorted(verdict.figures.items()))
    lines = [f"\nAfter {seconds / 60:.1f} minutes:"]
    lines += [f"{number:8,}  {what}" for what, number in figures.items()]
    for name, sentences in (("lost", verdict.lost), ("doubled", verdict.doubled), ("wrong", verdict.wrong)):
        lines += [f"  {name}: {sentence}" for sentence in sentences[:SHOWN]]
    lines.append(f"lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, wrong {len(verdict.wrong)}")
    return "\n".join(lines)
