"""Settings from the environment and from a ``.env`` file: read one by one, complained of all at once.

Whatever is wrong is collected, and ``Env.end_if_wrong`` ends the start with a sentence for each: it names the
variable, says what was expected, and gives an example. Values are never printed: they may be secrets. What each
setting may be is a Kind (setting_kinds.py); what settings may not be together is in setting_rules.py.
"""

import difflib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from dotenv import load_dotenv
from dotenv.parser import Binding, parse_stream

T = TypeVar("T")

ENVIRONMENTS = ("development", "staging", "production")

DEVELOPMENT_NOTICE = (
    "Perma Payments is running as development (PERMA_PAYMENTS_ENV): its keys are published, its admin asks for no "
    "second factor, and no card is charged. On a server, set PERMA_PAYMENTS_ENV=production (or staging)."
)

# What Kubernetes tells every container of services that are called perma-payments, perma-payments-db or the like.
KUBERNETES_VARIABLE = re.compile(
    r"PERMA_PAYMENTS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# How alike (difflib's ratio) a name in .env must be to one of ours to be taken for a slip of it.
ALIKE = 0.85


class BadSetting(SystemExit):
    """Settings that the service cannot start with.

    It is a SystemExit so that whoever starts the service (manage.py, gunicorn, pytest) shows the
    sentences and ends, instead of a stack trace.
    """


class Unfit(ValueError):
    """Why a text is no value of a kind, in words of ours that follow "The setting NAME"."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What a setting may be. ``parse`` raises ValueError, or Unfit with a reason, for what it cannot read."""

    parse: Callable[[str], T]
    expected: str
    example: str


class Env:
    """Reads settings from a mapping, as a rule ``os.environ``, and collects what is wrong.

    An empty value counts as not set. ``NAME_FILE`` may name a file that holds the value of ``NAME``. What cannot
    be read has its default meanwhile, so that the rest can be read too.
    """

    # Set by manage.py alone: help, and what makes or checks keys, must work where nothing is set yet.
    tolerant: ClassVar[bool] = False

    def __init__(
        self, variables: Mapping[str, str], *, lines: Mapping[str, int] | None = None, problems: Iterable[str] = ()
    ) -> None:
        """``lines`` tells of each name in .env on which line it is, ``problems`` what is wrong with that file."""
        self._variables = variables
        self._lines = lines or {}
        self.problems = list(problems)
        self._wrong: set[str] = set()
        # What was asked for, and what of it was there.
        self.names: set[str] = set()
        self.given: set[str] = set()
        environments = Kind(one_of(ENVIRONMENTS), "one of " + ", ".join(ENVIRONMENTS), "production")
        self.environment = self.read("PERMA_PAYMENTS_ENV", environments, "development")
        self.in_development = self.environment == "development"

    @classmethod
    def of_process(cls, file: Path) -> "Env":
        """The variables of this process, and those of the file for what is not among them."""
        lines, problems = _load(file)
        return cls(os.environ, lines=lines, problems=problems)

    def read(self, name: str, kind: Kind[T], default: T) -> T:
        """A setting that has a default."""
        return self._value(name, kind, default, required=False)

    def demand(self, name: str, kind: Kind[T], development: T) -> T:
        """A setting that has a default in development only; elsewhere it must be set."""
        return self._value(name, kind, development, required=not self.in_development)

    def refuse_if(self, condition: bool, names: str, sentence: str) -> None:
        """Collect what is wrong with settings (their names, separated by blanks), all of which could be read."""
        if condition and self._wrong.isdisjoint(names.split()):
            self.problems.append(sentence)

    def end_if_wrong(self) -> None:
        """Raise BadSetting with a sentence a line for all that is wrong, slips of names first. Call it last."""
        problems = [*self._misnamed(), *self.problems]
        if problems and not self.tolerant:
            raise BadSetting("\n".join(problems))

    def _value(self, name: str, kind: Kind[T], default: T, *, required: bool) -> T:
        self.names.add(name)
        text, file = (self._variables.get(each, "").strip() for each in (name, f"{name}_FILE"))
        if not text and file:
            try:
                text = Path(file).read_text(encoding="utf-8-sig").strip()
            except (OSError, ValueError):
                self._complain(
                    name,
                    f"{name}_FILE",
                    "names a file that cannot be read",
                    "the path of a readable text file",
                    f"/run/secrets/{name.lower()}",
                )
                return default
        if not text and not required:
            return default
        try:
            if not text:
                raise Unfit("is not set")
            self.given.add(name)
            return kind.parse(text)
        except ValueError as error:
            # Words of others may hold the value.
            reason = str(error) if isinstance(error, Unfit) else "cannot be read"
        self._complain(name, name, reason, kind.expected, kind.example)
        return default

    def _complain(self, name: str, variable: str, problem: str, expected: str, example: str) -> None:
        self._wrong.add(name)
        self.problems.append(
            f"The setting {variable} {problem}: expected {expected}, for example {variable}={example}"
        )

    def _misnamed(self) -> list[str]:
        """What is wrong with variables that are named almost as a setting of ours, and so would say nothing."""
        ours = {_plain(name): name for setting in self.names for name in (setting, f"{setting}_FILE")}
        return [
            _misnaming(name, meant, self._lines.get(name))
            for name in self._variables
            if name not in ours.values() and (meant := _meant(name, ours, in_file=name in self._lines))
        ]


def one_of(among: tuple[str, ...]) -> Callable[[str], str]:
    """A parser that takes these words only."""

    def parse(text: str) -> str:
        if text not in among:
            raise ValueError
        return text

    return parse


# --- Names ------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _meant(name: str, ours: Mapping[str, str], *, in_file: bool) -> str | None:
    """The setting that a name was probably meant to be; None for a name that has nothing to do with us."""
    plain = _plain(name)
    alike = [each for each in ours if each.endswith("FILE") == plain.endswith("FILE")]
    if plain.startswith("PERMAPAYMENT"):
        if KUBERNETES_VARIABLE.fullmatch(name):
            return None
        return ours[difflib.get_close_matches(plain, alike, n=1, cutoff=0)[0]]
    if in_file:
        close = difflib.get_close_matches(plain, alike, n=1, cutoff=ALIKE)
        return ours[close[0]] if close else None
    # Elsewhere a name that is merely like ours may be another program's; one that nobody could want is a slip,
    # such as that of an env file that begins with a byte order mark.
    return None if NAME.fullmatch(name) else ours.get(plain)


def _misnaming(name: str, meant: str, line: int | None) -> str:
    # Where other characters are in it, part of it may be a value.
    if NAME.fullmatch(name):
        return f"{f'Line {line} of .env' if line else 'The environment'} sets {name}. Did you mean {meant}?"
    return (
        f"A variable is named {meant}, but with other characters in its name. "
        "Look for a blank, a colon, a hyphen, or a byte order mark at the start of a file."
    )


# --- The file .env ----------------------------------------------------------------------------------


def _load(file: Path) -> tuple[dict[str, int], list[str]]:
    """Add the file's variables to this process's, unless they are set; return their lines, and what is wrong."""
    lines: dict[str, int] = {}
    if os.environ.get("PYTHON_DOTENV_DISABLED", "").lower() in ("1", "true", "t", "yes", "y"):
        return lines, []
    problems, readable = [], []
    try:
        for binding in parse_stream(io.StringIO(file.read_text(encoding="utf-8-sig"))):
            if problem := _problem(binding, lines):
                problems.append(problem)
            else:
                readable.append(binding.original.string)
        load_dotenv(stream=io.StringIO("".join(readable)))
    except FileNotFoundError:
        pass
    except OSError as error:
        problems.append(f"The file .env cannot be opened ({type(error).__name__}): let this account read it")
    except ValueError:
        problems.append("The file .env cannot be read: expected UTF-8 text, a NAME=value on each line")
    return lines, problems


def _problem(binding: Binding, lines: dict[str, int]) -> str | None:
    """What is wrong with a statement of .env; else its line is noted under its name."""
    statement = binding.original.string.lstrip()
    line = binding.original.line + binding.original.string[: -len(statement) or None].count("\n")
    name = binding.key
    if name is None and not binding.error:
        return None
    if name is None or binding.value is None or not NAME.fullmatch(name):
        return (
            f"Line {line} of .env cannot be read: expected NAME=value, with only letters, digits and _ in the "
            "name, and quotation marks in pairs"
        )
    if any(each not in {**os.environ, **lines} for each in re.findall(r"\$\{([^}:]*)\}", binding.value)):
        return f"Line {line} of .env uses ${{…}} for a variable that is not set"
    if re.search(rf"\n\s*(export\s+)?{NAME.pattern}[ \t]*=[ \t]*[^=\s'\"]", statement):
        return f"Line {line} of .env has a quotation mark that a later line closes: close it on the same line"
    if name in lines:
        return f"Line {line} of .env sets {name} again, after line {lines[name]}: remove one of them"
    lines[name] = line
    return None
