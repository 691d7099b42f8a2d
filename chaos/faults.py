"""What goes wrong, and when: rounds of all faults, in an order that the seed determines.

Each fault is a function of the world and a source of chance. When it returns, what it broke works again, or will
within seconds. The mail server has faults of its own at the same time.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2

from devtools.processes import leashed
from sandbox.mail.mailbox import Mode

from .record import Record
from .world import NEW_KEY, OLD_KEY, World

Fault = Callable[[World, random.Random], None]


class Missed(Exception):
    """There was nothing to break."""


# Freezes a process, and lets it go on even if the task is killed meanwhile.
FREEZE = """
import os, signal, sys, time
pid, seconds = int(sys.argv[1]), float(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
finally:
    os.kill(pid, signal.SIGCONT)
"""


# --- Web servers and schedulers ---------------------------------------------------------------------


def kill_worker(world: World, rng: random.Random) -> None:
    """SIGKILL to a worker of Gunicorn, which starts another."""
    _kill(_one_of(rng.choice(world.web_servers).workers(), rng))


def kill_master(world: World, rng: random.Random) -> None:
    """SIGKILL to a master of Gunicorn. Its workers are killed with it, and systemd starts it again."""
    web_server = rng.choice(world.web_servers)
    if not web_server.send(signal.SIGKILL):
        raise Missed
    time.sleep(1)
    web_server.wait_until_it_answers()


def reload(world: World, rng: random.Random) -> None:
    """SIGHUP to both masters: new workers, without a pause."""
    for web_server in world.web_servers:
        web_server.send(signal.SIGHUP)
        time.sleep(1)
        web_server.wait_until_it_answers()


def restart_one_after_the_other(world: World, rng: random.Random) -> None:
    """A rolling restart, as for an upgrade; or with the next step of changing CyberSource's key."""
    world.restart_one_after_the_other(NEXT_RING[world.ring])


def kill_scheduler(world: World, rng: random.Random) -> None:
    """SIGKILL to a scheduler, perhaps in the middle of a mail."""
    if not rng.choice(world.schedulers).send(signal.SIGKILL):
        raise Missed


# --- PostgreSQL -------------------------------------------------------------------------------------


def end_sessions(world: World, rng: random.Random) -> None:
    """End half of the service's sessions, as an administrator can."""
    pids = world.database.backends()
    for pid in rng.sample(pids, (len(pids) + 1) // 2):
        world.database.ask("SELECT pg_terminate_backend(%s)", pid)


def kill_backend(world: World, rng: random.Random) -> None:
    """SIGKILL to one process of PostgreSQL, which then ends all sessions and recovers."""
    _kill(_one_of(world.database.backends(), rng))


def freeze_backend(world: World, rng: random.Random) -> None:
    """Stop one process of PostgreSQL for a few seconds, with all the locks that it holds."""
    pid = _one_of(world.database.backends(), rng)
    with leashed("Freeze", "-c", FREEZE, str(pid), str(rng.uniform(2, 6))) as freezer:
        if freezer.wait() != 0:
            raise Missed


def restart_postgresql(world: World, rng: random.Random) -> None:
    """Stop PostgreSQL hard, without a checkpoint, and start it again after a few seconds."""
    world.database.stop_hard(rng.choice([signal.SIGQUIT, signal.SIGKILL]))
    time.sleep(rng.uniform(0.5, 3))
    world.database.start_again()


def lock_rows(world: World, rng: random.Random) -> None:
    """Hold locks on the newest rows for longer than the service waits for a lock."""
    table = rng.choice(["subscriptionagreement", "purchase"])
    _hold(world, f"SELECT FROM perma_payments_{table} ORDER BY id DESC LIMIT 20 FOR UPDATE", rng.uniform(3, 6))


def lock_table(world: World, rng: random.Random) -> None:
    """Hold a whole table, as a careless migration would."""
    table = rng.choice(["response", "subscriptionagreement", "outgoingtransaction", "purchase", "stafftask"])
    _hold(world, f"LOCK TABLE perma_payments_{table} IN ACCESS EXCLUSIVE MODE", rng.uniform(2, 5))


def _hold(world: World, sql: str, seconds: float) -> None:
    connection = world.database.connect()
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            cursor.execute(sql)
            time.sleep(seconds)
    finally:
        connection.close()


def _one_of(pids: list[int], rng: random.Random) -> int:
    if not pids:
        raise Missed
    return rng.choice(pids)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        raise Missed from None


# --- The schedule -----------------------------------------------------------------------------------

# The new key is accepted everywhere first, then signs. The old one goes when the storm is over (run.py).
NEXT_RING = {
    (OLD_KEY,): (OLD_KEY, NEW_KEY),
    (OLD_KEY, NEW_KEY): (NEW_KEY, OLD_KEY),
    (NEW_KEY, OLD_KEY): (NEW_KEY, OLD_KEY),
}
# How often each comes in a round.
ROUND: dict[Fault, int] = {
    kill_worker: 3,
    kill_master: 1,
    kill_scheduler: 1,
    kill_backend: 1,
    end_sessions: 1,
    freeze_backend: 2,
    restart_postgresql: 1,
    lock_rows: 1,
    lock_table: 1,
    reload: 1,
    restart_one_after_the_other: 2,
}
KILLS = (kill_worker, kill_master, kill_scheduler, kill_backend)
SECONDS_TO_NOTICE = 20.0  # for a scheduler that waits before it tries again
MAIL_FAULTS = [mode for mode in Mode if mode is not Mode.TAKES]


def name_of(fault: Fault) -> str:
    """What a fault is called in the report."""
    return fault.__name__.replace("_", " ")


def rounds(rng: random.Random) -> Iterator[list[Fault]]:
    """Rounds of faults without end, each in another order."""
    while True:
        faults = [fault for fault, times in ROUND.items() for _ in range(times)]
        rng.shuffle(faults)
        yield faults


class Trouble:
    """All faults, in two threads, until it is told to end.

    The first round of those that are no mail faults is always finished.
    """

    def __init__(self, world: World, record: Record, *, seed: int, pause: float) -> None:
        self._world = world
        self._record = record
        self._rng = random.Random(f"{seed}-faults")
        self._mail_rng = random.Random(f"{seed}-mail")
        self._pause = pause
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self.had_all = threading.Event()  # every fault has happened, or something is wrong with them
        self._threads = [
            threading.Thread(target=self._run, args=[part], daemon=True)
            for part in (self._disturb, self._spoil_mail)
        ]
        self._problem: BaseException | None = None

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """End, with everything working again. Raises what went wrong with the faults themselves."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._world.mailbox.mode = Mode.TAKES
        if self._problem:
            raise self._problem

    def _run(self, part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as problem:
            self._problem = problem
            self.had_all.set()

    def _disturb(self) -> None:
        for faults in rounds(self._rng):
            for fault in faults:
                if self._stopping.wait(self._pause):
                    return
                name = name_of(fault)
                self._log(name)
                try:
                    fault(self._world, self._rng)
                    self._record.count(f"fault: {name}")
                except (Missed, psycopg2.Error):
                    # What was to be broken was just starting.
                    self._record.count("faults that missed")
            self.had_all.set()

    def _spoil_mail(self) -> None:
        """Let the mail server fail in each way until someone has noticed, and work in between."""
        mailbox = self._world.mailbox
        while not self._stopping.is_set():
            for fault in self._mail_rng.sample(MAIL_FAULTS, len(MAIL_FAULTS)):
                self._log(f"the mail server {fault.value}")
                for mode in (fault, Mode.TAKES):
                    mailbox.mode = mode
                    before, end = mailbox.conversations[mode], time.monotonic() + SECONDS_TO_NOTICE
                    while mailbox.conversations[mode] == before and time.monotonic() < end:
                        if self._stopping.wait(0.2):
                            return
                    if self._stopping.wait(self._pause):
                        return

    def _log(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)
