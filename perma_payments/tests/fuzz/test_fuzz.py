"""Whatever is sent: no 5xx, no change by what was refused or forged, nothing posted in the log.

``fab fuzz --cases 100000`` runs many cases, with another seed. A case that fails is sent again with ever less
damage, and the smallest request that still fails is shown.
"""

import os
import sys
import time
from collections import Counter

import pytest
from django.test import override_settings

from .cases import Request, make
from .dice import Dice
from .world import Done, Fuzzed, build, logged, one_connection

CASES = int(os.environ.get("FUZZ_CASES", "400"))
SEED = os.environ.get("FUZZ_SEED", "0")
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
MOST_SHOWN = 10


@pytest.mark.django_db(transaction=True)
def test_no_damage_harms(capsys):
    world = build()
    failures: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()
    began = time.monotonic()
    with one_connection(), logged() as log:
        fuzzed = Fuzzed(world, log)
        for number in range(FIRST, FIRST + CASES):
            dice = Dice(f"{SEED}:{number}")
            kind, request = make(world, dice)
            with override_settings(UPDATE_LEADS_TO=("card", "page")[number % 2]):
                done = fuzzed.try_case(request)
                count(counts, kind, request, done)
                if done.wrong:
                    failures.append(smallest(fuzzed, number, dice, done))
            if len(failures) == MOST_SHOWN:
                break
            if number % 5000 == 4999:
                with capsys.disabled():
                    print(f"{number + 1:,} cases, {len(failures)} failures", file=sys.stderr, flush=True)
    table = figures(counts, time.monotonic() - began)
    with capsys.disabled():
        if "FUZZ_CASES" in os.environ:
            print(table)
    assert not failures, "\n\n".join(failures)
    # Else the builders make nothing valid anymore, and little is tested.
    for kind in ("message", "callback", "portal", "upload") if CASES >= 400 else ():
        assert counts[kind, "accepted"] > counts[kind, "cases"] / 10


def count(counts: "Counter[tuple[str, str]]", kind: str, request: Request, done: Done) -> None:
    is_refused = max(done.statuses) >= 400
    counts[kind, "cases"] += 1
    counts[kind, "refused" if is_refused else "accepted"] += 1
    counts[kind, "forged"] += request.is_forged
    counts[kind, "5xx"] += max(done.statuses) >= 500
    counts[kind, "wrote"] += done.wrote and not done.wrong
    counts[kind, "wrong"] += bool(done.wrong)


def figures(counts: "Counter[tuple[str, str]]", seconds: float) -> str:
    """A table of what was counted, by kind."""
    columns = ("cases", "accepted", "refused", "forged", "wrote", "5xx", "wrong")
    kinds = sorted({kind for kind, _ in counts})
    lines = [f"{'':12}" + "".join(f"{column:>10}" for column in columns)]
    lines += [f"{kind:12}" + "".join(f"{counts[kind, column]:10,}" for column in columns) for kind in kinds]
    totals = {column: sum(counts[kind, column] for kind in kinds) for column in columns}
    lines.append(f"{'all':12}" + "".join(f"{totals[column]:10,}" for column in columns))
    return "\n".join([*lines, f"Seed {SEED}; {seconds * 1000 / max(totals['cases'], 1):.1f} ms a case"])


def smallest(fuzzed: Fuzzed, number: int, dice: Dice, done: Done) -> str:
    """How to see a failure again: the case, and its request with as little damage as still does it."""
    left_out: set[int] = set()
    for damage in dice.done:
        _, request = make(fuzzed.world, Dice(f"{SEED}:{number}", left_out={*left_out, damage}))
        again = fuzzed.try_case(request)
        if again.wrong:
            left_out.add(damage)
            done = again
    _, request = make(fuzzed.world, Dice(f"{SEED}:{number}", left_out=left_out))
    return (
        f"{'; '.join(done.wrong)}: {done.statuses}\n"
        f"{request.method} {request.path}?{request.query} {request.content_type!r} {dict(request.environ)}\n"
        f"{request.body[:3000]!r}\n{done.log[-1500:]}\n"
        f"Again: fab fuzz --seed {SEED} --first {number} --cases 1"
    )
