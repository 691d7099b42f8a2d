"""Settings from the environment and from a ``.env`` file. One start reports everything that is wrong with them.

There is a sentence for each problem: it names the variable, says what was expected, and gives an example. It never
quotes a value, which may be a secret. setting_parsers.py says what each setting can be, and setting_rules.py which
settings do not go together.
"""

import difflib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from dotenv import load_dotenv
from dotenv.parser import Binding, parse_stream

T = TypeVar("T")

# What Kubernetes tells every container about services named perma-payments, perma-payments-db and the like.
KUBERNETES_VARIABLE = re.compile(
    r"PERMA_PAYMENTS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# How similar (difflib's ratio) a name in .env must be to one of ours to be taken for a misspelling of it.
SIMILAR = 0.85


class BadSetting(SystemExit):
    """Settings that the service cannot start with.

    It is a SystemExit, so manage.py, gunicorn and pytest end with its sentences instead of a stack trace.
    """


class BadValue(ValueError):
    """Why a text cannot be read, in words that follow "The setting NAME" and do not quote it."""


@dataclass(frozen=True)
class Parser(Generic[T]):
    """How a setting is read. ``parse`` raises ValueError for a text that it cannot read; BadValue says why."""

    parse: Callable[[str], T]
    expected: str
    example: str

    def with_example(self, example: str) -> "Parser[T]":
        """Return the same parser with another example."""
        return replace(self, example=example)


def matching(pattern: str) -> Callable[[str], str]:
    """Return a function that raises ValueError for a text unless the whole of it matches the pattern."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


def choice(*words: str, example: str) -> Parser[str]:
    """Return the parser of one of a few words."""
    return Parser(matching("|".join(words)), "one of " + ", ".join(words), example)


ENVIRONMENT = choice("development", "staging", "production", example="production")


class Env:
    """Reads settings from variables and collects what is wrong with them.

    An empty value counts as not set. ``NAME_FILE`` can name a file that holds the value of ``NAME``. A setting
    that cannot be read gets its default, so the others can still be read.
    """

    # manage.py sets it for commands that must work before anything is set: help, and what is done offline.
    tolerant: ClassVar[bool] = False

    def __init__(
        self, variables: Mapping[str, str], *, lines: Mapping[str, int] | None = None, problems: Iterable[str] = ()
    ) -> None:
        """``lines`` maps names in .env to their line numbers; ``problems`` are the sentences about that file."""
        self._variables = variables
        self._lines = lines or {}
        self.problems = list(problems)
        self._wrong: set[str] = set()
        self._replaced: set[str] = set()
        # The settings that were read, and those of them that were set.
        self.names: set[str] = set()
        self.given: set[str] = set()
        self.environment = self.read("PERMA_PAYMENTS_ENV", ENVIRONMENT, "development")
        self.in_development = self.environment == "development"

    @classmethod
    def of_process(cls, file: Path) -> "Env":
        """Read the variables of this process, after adding those of the .env file that it does not have."""
        lines, problems = _load(file)
        return cls(dict(os.environ), lines=lines, problems=problems)

    def read(self, name: str, parser: Parser[T], default: T) -> T:
        """Return a setting that does not have to be set."""
        return self._value(name, parser, default, required=False)

    def require(self, name: str, parser: Parser[T], in_development: T) -> T:
        """Return a setting that has a default in development only."""
        return self._value(name, parser, in_development, required=not self.in_development)

    def has_become(self, old: str, new: str, how: str) -> None:
        """Refuse a setting that another has replaced; ``how`` says how to write that one, without a period."""
        for name in (old, f"{old}_FILE"):
            self._replaced.add(name)
            if self._variables.get(name):
                self.problems.append(f"{name} has become {name.replace(old, new)}. {how}, and remove {name}.")

    def end_if_wrong(self, conflicts: Iterable[str] = ()) -> None:
        """Raise BadSetting with one sentence a line for everything that is wrong. Call it after the last setting.

        ``conflicts`` say which settings do not go together. One that names a setting that could not be read is
        left out.
        """
        conflicting = [each for each in conflicts if self._wrong.isdisjoint(re.findall(r"\w+", each))]
        problems = [*self._misnamed(), *self.problems, *conflicting]
        if problems and not self.tolerant:
            raise BadSetting("\n".join(problems))

    def _value(self, name: str, parser: Parser[T], default: T, *, required: bool) -> T:
        self.names.add(name)
        text, file = (self._variables.get(each, "").strip() for each in (name, f"{name}_FILE"))
        try:
            if file and not text:
                text = Path(file).read_text(encoding="utf-8-sig").strip()
        except (OSError, ValueError):
            self._wrong.add(name)
            self.problems.append(
                f"The setting {name}_FILE names a file that cannot be read: expected the path of a readable text "
                f"file, for example {name}_FILE=/run/secrets/{name.lower()}"
            )
            return default
        try:
            if text:
                self.given.add(name)
                text.encode()  # Raises ValueError for bytes that are not UTF-8.
                return parser.parse(text)
            if not required:
                return default
            raise BadValue("is not set")
        except ValueError as error:
            # The words of another exception may quote the value.
            reason = str(error) if isinstance(error, BadValue) else "cannot be read"
        self._wrong.add(name)
        self.problems.append(
            f"The setting {name} {reason}: expected {parser.expected}, for example {name}={parser.example}"
        )
        return default

    def _misnamed(self) -> Iterator[str]:
        """Yield a sentence for each variable whose name is almost that of a setting, and so would set nothing."""
        ours = {_plain(name): name for setting in self.names for name in (setting, f"{setting}_FILE")}
        for name in self._variables:
            line = self._lines.get(name)
            if name in (*ours.values(), *self._replaced) or not (
                meant := _meant(name, ours, in_file=line is not None)
            ):
                continue
            if NAME.fullmatch(name):
                yield f"{f'Line {line} of .env' if line else 'The environment'} sets {name}. Did you mean {meant}?"
            else:
                # The name is not quoted: part of it may be a value.
                yield (
                    f"A variable is named {meant}, but with other characters in its name. "
                    "Look for a blank, a colon, a hyphen, or a byte order mark at the start of a file."
                )


# --- Names ------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _meant(name: str, ours: Mapping[str, str], *, in_file: bool) -> str | None:
    """Return the setting that a name was probably meant to be, or None if it is not ours at all."""
    if KUBERNETES_VARIABLE.fullmatch(name):
        return None
    plain = _plain(name)
    if not in_file and not plain.startswith("PERMAPAYMENT"):
        # A name that is only similar may belong to another program. One that no program could want is a mistake,
        # such as the first name of an env file that begins with a byte order mark.
        return None if NAME.fullmatch(name) else ours.get(plain)
    alike = [each for each in ours if each.endswith("FILE") == plain.endswith("FILE")]
    cutoff = 0 if plain.startswith("PERMAPAYMENT") else SIMILAR
    return next((ours[each] for each in difflib.get_close_matches(plain, alike, n=1, cutoff=cutoff)), None)


# --- The file .env ----------------------------------------------------------------------------------


def _load(file: Path) -> tuple[dict[str, int], list[str]]:
    """Add the variables of a .env file to this process. Return their line numbers, and what is wrong with it."""
    lines: dict[str, int] = {}
    problems: list[str] = []
    if os.environ.get("PYTHON_DOTENV_DISABLED", "").lower() in ("1", "true", "t", "yes", "y"):
        return lines, problems
    readable = io.StringIO()
    try:
        for binding in parse_stream(io.StringIO(file.read_text(encoding="utf-8-sig"))):
            if problem := _problem(binding, lines):
                problems.append(problem)
            else:
                readable.write(binding.original.string)
        readable.seek(0)
        load_dotenv(stream=readable)
    except FileNotFoundError:
        pass
    except OSError as error:
        problems.append(f"The file .env cannot be opened ({type(error).__name__}): let this account read it")
    except ValueError:
        problems.append("The file .env cannot be read: expected UTF-8 text, a NAME=value on each line")
    return lines, problems


def _problem(binding: Binding, lines: dict[str, int]) -> str | None:
    """Say what is wrong with a statement of .env. If nothing is, add its name and line number to ``lines``."""
    statement = binding.original.string.lstrip()
    line = binding.original.line + binding.original.string[: -len(statement) or None].count("\n")
    name = binding.key
    if name is None and not binding.error:
        return None  # A comment, or blank.
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
