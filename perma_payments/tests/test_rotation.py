"""Every key is changed under traffic, by the sequence in docs/keys.md, and no good message is refused.

Two machines run the service, on a PostgreSQL of their own. They are restarted one after the other, each after the
load balancer has taken it out. Meanwhile Perma.cc's servers ask, customers buy and look, CyberSource responds to
forms that were signed a while ago, and staff stay logged in. Run with -s to read how many requests that were.
"""

import base64
import random
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from bs4 import BeautifulSoup
from nacl.public import Box, PrivateKey, PublicKey, SealedBox

from devtools.postgres import server
from devtools.processes import GUNICORN, eventually, free_port, leashed, run_quietly, wait_until_it_answers

from . import cyber_source, perma_cc
from .environments import base64_of
from .test_database import ask
from .test_faults import HOST
from .test_http import ARCHIVE_SECRET_KEY

PATIENCE = 60
STAFF, STAFFS_PASSWORD = "staff", "a long enough password"
# Requests of each kind that each machine must have served in each state of a rotation.
ENOUGH = 3
KINDS = ("status query", "checkout", "callback", "portal opened", "portal page", "staff page")
# Checkouts that customers have open at any time.
OPEN_FORMS = 4

OWNER = """
CREATE ROLE perma_payments NOLOGIN;
CREATE ROLE perma_payments_a LOGIN PASSWORD 'first' IN ROLE perma_payments;
CREATE ROLE perma_payments_b LOGIN IN ROLE perma_payments;
ALTER ROLE perma_payments_a SET role = perma_payments;
ALTER ROLE perma_payments_b SET role = perma_payments;
ALTER DATABASE perma_payments OWNER TO perma_payments;
"""


class Machine:
    """A machine with the service, and its environment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.env: dict[str, str] = {}
        self.in_flight = 0
        self._running = ExitStack()

    def start(self, env: Mapping[str, str]) -> None:
        self.stop()
        self.env = dict(env)
        process = leashed(f"Machine {self.name}", *GUNICORN, "--bind", f"{HOST}:{self.port}", env=env)
        wait_until_it_answers(self._running.enter_context(process), f"{HOST}:{self.port}", "/subscribe/")

    def stop(self) -> None:
        self._running.close()


class Refused(Exception):
    """A request was not answered as it should have been."""


def expect(answer: requests.Response, *statuses: int) -> requests.Response:
    if answer.status_code not in statuses:
        raise Refused(answer.status_code)
    return answer


@dataclass
class World:
    """Two machines behind a load balancer, and everyone who uses them."""

    database: str
    machines: list[Machine] = field(default_factory=lambda: [Machine("A"), Machine("B")])
    env: dict[str, str] = field(default_factory=dict)
    # Perma.cc's servers, each with the keys that it seals with.
    permas: list[Box] = field(default_factory=lambda: [perma_cc.BOX])
    # CyberSource's keys, as created in the Business Center.
    cybersources: dict[str, str] = field(default_factory=lambda: {cyber_source.ACCESS_KEY: cyber_source.SECRET})
    # What customers have open, with the state of the rotation in which it was signed.
    state: int = 0
    forms: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    turns: Counter[str] = field(default_factory=Counter)
    served: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    balancer: threading.Condition = field(default_factory=threading.Condition)
    in_rotation: list[Machine] = field(default_factory=list)

    # --- Requests -----------------------------------------------------------------------------------

    @contextmanager
    def machine(self, kind: str) -> Iterator[Machine]:
        """The next machine for a request of a kind, which is counted as served or refused."""
        with self.balancer:
            self.turns[kind] += 1
            machine = self.in_rotation[self.turns[kind] % len(self.in_rotation)]
            machine.in_flight += 1
        try:
            yield machine
            refusal = None
        except (Refused, requests.RequestException) as error:
            refusal = f"{machine.name}: {kind}: {error.args[0]}"
        with self.balancer:
            machine.in_flight -= 1
            self.balancer.notify_all()
            if refusal is None:
                self.served[kind, machine.name] += 1
            else:
                self.refused[refusal] += 1

    def send(self, kind: str, route: str, fields: dict[str, str], *statuses: int) -> requests.Response | None:
        with self.machine(kind) as machine:
            return expect(post(f"{machine.url}/{route}/", fields), *statuses)
        return None

    def seal(self, route: str) -> dict[str, str]:
        """A message of one of Perma.cc's servers, which take turns."""
        return {"encrypted_data": perma_cc.seal(perma_cc.fields(route), box=random.choice(self.permas))}

    def ask_for_status(self) -> None:
        # Each of Perma.cc's servers asks each machine.
        for box in self.permas:
            for _ in self.machines:
                with self.machine("status query") as machine:
                    message = {"encrypted_data": perma_cc.seal(perma_cc.fields("subscription"), box=box)}
                    reply = expect(post(f"{machine.url}/subscription/", message), 200).json()
                    assert perma_cc.open_reply(reply, box=box)["customer_pk"] == perma_cc.CUSTOMER["customer_pk"]

    def begin_to_buy(self) -> None:
        state = self.state
        if len(self.forms) > OPEN_FORMS:
            return  # CyberSource is slower than customers
        if page := self.send("checkout", "purchase", self.seal("purchase"), 200):
            (form,) = BeautifulSoup(page.content, "html.parser").find_all("form")
            self.forms.append(
                (state, {each["name"]: each["value"] for each in form.find_all(attrs={"name": True})})
            )

    def respond(self, *, leave: int = OPEN_FORMS) -> None:
        """Let CyberSource respond to the oldest form."""
        if len(self.forms) > leave:
            state, form = self.forms.pop(0)
            response = cyber_source.response(form, secret=self.cybersources[form["access_key"]])
            kind = "callback" if state == self.state else "late callback"
            self.send(kind, "cybersource-callback", response, 200)

    def look(self) -> None:
        if answer := self.send("portal opened", "billing", self.seal("billing"), 303):
            self.tokens.append(urlsplit(answer.headers["Location"]).query)
        # The oldest one, and the newest, which perhaps another machine has just signed.
        if tokens := list(self.tokens):
            for token in (tokens[0], tokens[-1]):
                with self.machine("portal page") as machine:
                    expect(get(f"{machine.url}/portal/?{token}"), 200)

    # --- Traffic ------------------------------------------------------------------------------------

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Let everyone go on until the end of this context, and print what came of it."""
        self.served.clear()
        self.refused.clear()
        self.forms.clear()
        self.tokens.clear()
        staff = self.log_in()
        problems: list[BaseException] = []
        over = threading.Event()

        def work_as_staff() -> None:
            with self.machine("staff page") as machine:
                expect(get(f"{machine.url}/admin/password_change/", staff), 200)

        def repeat(each: Callable[[], None]) -> None:
            try:
                while not over.wait(0.01):
                    each()
            except BaseException as problem:
                problems.append(problem)

        loops = (self.ask_for_status, self.begin_to_buy, self.respond, self.look, work_as_staff)
        threads = [threading.Thread(target=repeat, args=[each]) for each in loops]
        for thread in threads:
            thread.start()
        try:
            self.see_enough()
            yield
            self.see_enough()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        while self.forms:
            self.respond(leave=0)
        assert problems == []
        print(f"\n{self.figures()}")

    def log_in(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        login = f"{self.machines[0].url}/admin/login/"
        page = session.get(login, timeout=PATIENCE)
        token = BeautifulSoup(page.content, "html.parser").find(attrs={"name": "csrfmiddlewaretoken"})["value"]
        fields = {"username": STAFF, "password": STAFFS_PASSWORD, "csrfmiddlewaretoken": token, "next": "/admin/"}
        expect(session.post(login, fields, timeout=PATIENCE, allow_redirects=False), 302)
        return session

    def see_enough(self) -> None:
        """Wait until each machine in rotation has served enough of each kind, or one request was refused."""
        self.state += 1
        before = Counter(self.served)

        def enough() -> bool:
            pairs = [(kind, machine.name) for kind in KINDS for machine in self.in_rotation]
            # Each of Perma.cc's servers asks as often.
            needed = {"status query": ENOUGH * len(self.permas)}
            return bool(self.refused) or all(
                self.served[pair] - before[pair] >= needed.get(pair[0], ENOUGH) for pair in pairs
            )

        assert eventually(enough, PATIENCE), self.figures()

    def number_of(self, *kinds: str) -> int:
        return sum(number for (kind, _), number in self.served.items() if kind in kinds)

    def figures(self) -> str:
        kinds = {kind: self.number_of(kind) for kind in (*KINDS, "late callback")}
        return f"served {sum(kinds.values())} {kinds}, refused {sum(self.refused.values())} {dict(self.refused)}"

    # --- Operators ----------------------------------------------------------------------------------

    def roll(self, *machines: Machine, **settings: str) -> None:
        """Change settings on these machines, or all: one after the other, while the rest goes on."""
        if not machines:
            self.env |= settings
        for machine in machines or self.machines:
            with self.balancer:
                self.in_rotation.remove(machine)
                self.balancer.wait_for(lambda machine=machine: machine.in_flight == 0, PATIENCE)
            machine.start({**self.env, **settings})
            self.see_enough()
            with self.balancer:
                self.in_rotation.append(machine)
            self.see_enough()

    def create_key_at_cybersource(self, access_key: str) -> str:
        """Create a security key in the Business Center; return its secret."""
        self.cybersources[access_key] = secrets.token_hex(128)
        return self.cybersources[access_key]

    def wait_a_day(self) -> None:
        """Let everything end that lives no longer than that: forms, and the pages of the portal."""
        state = self.state = self.state + 1
        del self.tokens[:-1]
        assert eventually(lambda: all(signed >= state for signed, _ in list(self.forms)), PATIENCE)


def post(url: str, fields: dict[str, str]) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        return session.post(url, data=fields, timeout=PATIENCE, allow_redirects=False)


def get(url: str, session: requests.Session | None = None) -> requests.Response:
    with session or requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=PATIENCE, allow_redirects=False)


# --- The world --------------------------------------------------------------------------------------

FIRST_OF_OURS = f"first:{base64_of(perma_cc.PERMA_PAYMENTS_SECRET)}"
FIRST_OF_PERMAS = f"first:{base64_of(perma_cc.PERMA_PUBLIC)}"
FIRST_OF_CYBERSOURCES = f"{cyber_source.ACCESS_KEY}:{cyber_source.SECRET}"
FIRST_SECRET_KEY, SECOND_SECRET_KEY = (
    f"a-{which}-key-with-enough-characters-in-it" for which in ("first", "second")
)
OUR_FIRST = PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC)
PERMAS_FIRST = PrivateKey(perma_cc.PERMA_SECRET)
ARCHIVES_FIRST = PrivateKey(ARCHIVE_SECRET_KEY)
KEPT = "archive_key_id, encode(sealed, 'base64')"


def opens(key: PrivateKey, sealed: str) -> bool:
    """Whether a response that was kept, in base64, opens with a key. Raises CryptoError if it does not."""
    return b"decision=ACCEPT" in SealedBox(key).decrypt(base64.b64decode(sealed))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The database, as a URL for its superuser. Others need a password."""
    with server() as url:
        file = Path(ask(url, "SHOW hba_file"))
        file.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        ask(url, "SELECT pg_reload_conf()")
        for statement in OWNER.strip().splitlines():
            ask(url, statement)
        yield url


def url_for(postgres: str, user: str, password: str) -> str:
    return postgres.replace("//postgres@", f"//{user}:{password}@")


@pytest.fixture(scope="module")
def the_world(postgres: str) -> Iterator[World]:
    env = {"DATABASE_URL": url_for(postgres, "perma_payments_a", "first")}
    run_quietly("manage.py", "migrate", env=env, failure="The migrations failed.")
    staff = {**env, "DJANGO_SUPERUSER_PASSWORD": STAFFS_PASSWORD}
    arguments = f"createsuperuser --noinput --username {STAFF} --email staff@perma.example".split()
    run_quietly("manage.py", *arguments, env=staff, failure="There is no staff account.")
    world = World(postgres)
    try:
        yield world
    finally:
        for machine in world.machines:
            machine.stop()


@pytest.fixture
def world(the_world: World) -> World:
    """Both machines, with the same settings as before every test."""
    the_world.env = {
        "DATABASE_URL": url_for(the_world.database, "perma_payments_a", "first"),
        "PERMA_PAYMENTS_SECRET_KEYS": FIRST_OF_OURS,
        "PERMA_PUBLIC_KEYS": FIRST_OF_PERMAS,
        "CS_KEYS": FIRST_OF_CYBERSOURCES,
        "SECRET_KEY": FIRST_SECRET_KEY,
        "LOG_LEVEL": "WARNING",
    }
    the_world.permas = [perma_cc.BOX]
    ask(the_world.database, "ALTER ROLE perma_payments_a PASSWORD 'first'")
    changed = [machine for machine in the_world.machines if machine.env != the_world.env]
    starts = [threading.Thread(target=machine.start, args=[the_world.env]) for machine in changed]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    the_world.in_rotation = list(the_world.machines)
    return the_world


# --- The right order --------------------------------------------------------------------------------


def test_every_key_is_changed_without_refusing_one_good_message(world: World):
    ours, permas, archives = (PrivateKey.generate() for _ in range(3))
    our_new, permas_new = f"new:{base64_of(ours)}", f"new:{base64_of(permas.public_key)}"
    cybersources_new = f"0022:{world.create_key_at_cybersource('0022')}"
    before = ask(world.database, "SELECT count(*) FROM perma_payments_response")

    with world.traffic():
        # The new ones are accepted everywhere. A second login role gets a new password.
        ask(world.database, "ALTER ROLE perma_payments_b PASSWORD 'second'")
        world.roll(
            PERMA_PAYMENTS_SECRET_KEYS=f"{FIRST_OF_OURS},{our_new}",
            PERMA_PUBLIC_KEYS=f"{FIRST_OF_PERMAS},{permas_new}",
            CS_KEYS=f"{FIRST_OF_CYBERSOURCES},{cybersources_new}",
            SECRET_KEY_FALLBACKS=SECOND_SECRET_KEY,
        )

        # They are used: by Perma.cc's servers, which change one after the other as well, and by us.
        pairs = [(secret, public) for secret in (PERMAS_FIRST, permas) for public in (OUR_FIRST, ours.public_key)]
        world.permas = [Box(*pair) for pair in pairs]
        world.see_enough()
        world.permas = world.permas[-1:]
        world.roll(
            DATABASE_URL=url_for(world.database, "perma_payments_b", "second"),
            CS_KEYS=f"{cybersources_new},{FIRST_OF_CYBERSOURCES}",
            SECRET_KEY=SECOND_SECRET_KEY,
            SECRET_KEY_FALLBACKS=FIRST_SECRET_KEY,
            ARCHIVE_PUBLIC_KEY=f"new:archive-public:{base64_of(archives.public_key)}",
        )

        # The old ones are dropped.
        world.wait_a_day()
        ask(world.database, "ALTER ROLE perma_payments_a PASSWORD NULL")
        world.roll(
            PERMA_PAYMENTS_SECRET_KEYS=our_new,
            PERMA_PUBLIC_KEYS=permas_new,
            CS_KEYS=cybersources_new,
            SECRET_KEY_FALLBACKS="",
        )

    assert not world.refused, world.figures()
    took_effect = "SELECT count(*) FROM perma_payments_response WHERE outcome = 'took effect'"
    took_effect += " OR applied_at IS NULL AND failed_at IS NULL"  # it waits for a lock, and is applied later
    assert ask(world.database, took_effect) - before == world.number_of("callback", "late callback") > 0
    secret_halves = {"development": ARCHIVES_FIRST, "new": archives}
    kept = ask(world.database, f"SELECT json_agg(json_build_array({KEPT})) FROM perma_payments_response")
    opened = Counter(key_id for key_id, sealed in kept if opens(secret_halves[key_id], sealed))
    assert opened.keys() == secret_halves.keys() and sum(opened.values()) == len(kept)
    users = "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE usename LIKE 'perma_payments%%'"
    assert ask(world.database, users) == "perma_payments_b"


def test_either_login_role_can_do_what_the_owner_can(postgres: str, world: World):
    ask(postgres, "ALTER ROLE perma_payments_b PASSWORD 'second'")
    second = url_for(postgres, "perma_payments_b", "second")
    ask(second, "ALTER TABLE perma_payments_jobrun ADD COLUMN more text")  # made by the other role
    ask(url_for(postgres, "perma_payments_a", "first"), "ALTER TABLE perma_payments_jobrun DROP COLUMN more")


# --- The wrong order --------------------------------------------------------------------------------


def test_a_key_that_is_used_before_every_machine_accepts_it_refuses_good_messages(world: World):
    """So the test above could fail."""
    new = PrivateKey.generate()
    a, _ = world.machines
    with world.traffic():
        world.roll(
            a,
            PERMA_PAYMENTS_SECRET_KEYS=f"{FIRST_OF_OURS},new:{base64_of(new)}",
            CS_KEYS=f"0033:{world.create_key_at_cybersource('0033')},{FIRST_OF_CYBERSOURCES}",
            SECRET_KEY=SECOND_SECRET_KEY,
            SECRET_KEY_FALLBACKS=FIRST_SECRET_KEY,
        )
        world.permas = [Box(PERMAS_FIRST, new.public_key)]
        kinds = ("status query: 400", "callback: 400", "portal page: 400", "staff page: 302")
        assert eventually(lambda: {f"B: {kind}" for kind in kinds} <= world.refused.keys(), PATIENCE)


def test_a_password_that_is_changed_in_place_refuses_a_machine_that_starts_with_the_old_one(world: World):
    with world.traffic():
        ask(world.database, "ALTER ROLE perma_payments_a PASSWORD 'second'")
        world.roll(world.machines[0])
        assert eventually(lambda: world.refused["A: status query: 503"], PATIENCE)
