#!/usr/bin/env python3
"""Try the production image where there is no container engine: every step of its Dockerfile, and every command.

    sudo DATABASE_URL=postgres://… python3 docker/production/rehearse.py DIRECTORY

For Debian, with debootstrap and bubblewrap, as root. DIRECTORY takes the stages of the image, and the base: a
Debian with Python 3.13 that stands in for the one that the Dockerfile names. The database must be empty or a
rehearsal's own, at an address that is reached by TCP. The settings are those of development. Each RUN gets the
environment, so PIP_INDEX_URL and the like can say where packages come from.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from string import Template
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker/production/Dockerfile"
# Debian 12 has no Python 3.13, so this is Debian 13.
BASE = "debootstrap --variant=minbase --include=ca-certificates,python3-venv trixie".split()
SECONDS = 60


def main() -> None:
    """Make the image and use it; the exit code is 0 if all went well."""
    directory = Path(sys.argv[1]).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    image = build(directory)
    check_contents(image)
    use(image)
    print("All steps and commands of the production image work.")


# --- The Dockerfile -----------------------------------------------------------------------------------


class Stage:
    """A stage of a Dockerfile: a directory with its files, and what the instructions say besides."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = "/"
        self.env: dict[str, str] = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.user = "0:0"
        self.said: dict[str, str] = {}

    def command(self, arguments: list[str], *, as_root: bool = False) -> list[str]:
        """How to run a command in it: as in a container, or as root and writable, for RUN."""
        bind = ["--bind"] if as_root else ["--ro-bind"]
        network = ["--ro-bind", "/etc/resolv.conf", "/etc/resolv.conf"]
        isolated = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
        files = [*bind, str(self.root), "/", *network, "--proc", "/proc", "--dev", "/dev"]
        files += ["--perms", "1777", "--tmpfs", "/tmp"]
        user, group = self.user.split(":")
        account = f"--reuid {user} --regid {group} --clear-groups --no-new-privs --bounding-set=-all".split()
        be = [] if as_root else ["setpriv", *account]
        return ["bwrap", *isolated, *files, "--chdir", self.directory, "--", *be, *arguments]


def build(directory: Path) -> Stage:
    """Follow the Dockerfile, and return its last stage."""
    base = directory / "debian"
    if not base.exists():
        subprocess.run([*BASE, str(base)], check=True)
        (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for instruction, rest in instructions():
        print(f"{instruction} {rest}", flush=True)
        match instruction:
            case "FROM":
                source, _, name = rest.partition(" AS ")
                stage = Stage(fresh(directory / (name or "image")))
                copy(stages[source].root if source in stages else base, stage.root)
                stages[name] = stage
            case "RUN":
                environment = {**os.environ, **stage.env}
                command = stage.command(["/bin/sh", "-c", rest], as_root=True)
                subprocess.run(command, check=True, env=environment)
            case "COPY":
                *options, source, target = rest.split()
                to = stage.root / os.path.join(stage.directory, target).lstrip("/")
                if options:
                    copy(stages[options[0].removeprefix("--from=")].root / source.lstrip("/"), to)
                else:
                    copy_context(source, to)
            case "WORKDIR":
                stage.directory = rest
            case "ENV":
                for name, value in (pair.split("=", 1) for pair in shlex.split(rest)):
                    stage.env[name] = Template(value).substitute(stage.env)
            case "USER":
                stage.user = rest
            case "LABEL" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                stage.said[instruction] = rest
            case _:
                sys.exit(f"This cannot rehearse {instruction}.")
    return stage


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    pairs = (line.split(None, 1) for line in text.splitlines() if line.strip())
    return [(instruction, " ".join(rest.split())) for instruction, rest in pairs]


def fresh(path: Path) -> Path:
    if path.exists():
        shutil.rmtree(path)
    path.mkdir()
    return path


def copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", f"{source}/.", str(target)], check=True)


def copy_context(source: str, target: Path) -> None:
    """COPY one file, or all that the image's own .dockerignore leaves."""
    listed = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in listed if line and not line.startswith("#")]
    for path in sorted(ROOT.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if source in (".", name) and path.is_file() and is_kept(name, patterns):
            to = target / (name if source == "." else path.name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def is_kept(name: str, patterns: list[str]) -> bool:
    """Whether a file goes into the image: the last pattern that matches it, or a directory around it, decides."""
    parts = name.split("/")
    paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    kept = True
    for pattern in patterns:
        plain = pattern.lstrip("!").removeprefix("**/")
        places = parts if "**/" in pattern else paths
        if any(fnmatch(place, plain) if "/" in place or "/" not in plain else place == plain for place in places):
            kept = pattern.startswith("!")
    return kept


# --- The image ----------------------------------------------------------------------------------------


def check_contents(image: Stage) -> None:
    """What must not be in the image is not."""
    code = image.root / image.directory.lstrip("/")
    assert sorted(path.name for path in code.iterdir()) == sorted(
        ["LICENSE", "docker", "docs", "gunicorn.conf.py", "manage.py", "perma_payments", "requirements.txt"]
    ), "something else is in the image, or something is missing"
    everything = [*code.rglob("*"), *(image.root / "opt/venv").rglob("*")]
    names = {path.name for path in everything}
    for name in ("tests", "sandbox", ".git", ".env", "pip", "pytest"):
        inside = [path for path in everything if path.name == name and "site-packages" not in path.parts]
        assert name not in names or not inside, f"{inside} is in the image"
    for program in ("gcc", "cc", "make", "curl", "wget", "git"):
        assert not (image.root / "usr/bin" / program).exists(), f"{program} is in the image"
    for path in everything:
        if not path.is_symlink():
            status = path.stat()
            assert status.st_uid == 0 and not status.st_mode & 0o022, f"{path} can be changed"


def use(image: Stage) -> None:
    """Run what the image is for, with a read-only file system, as its user."""
    run(image, "check")
    run(image, "migrate", "--noinput")
    run(image, "migrate", "--check")
    outcome = subprocess.run(image.command(["touch", "manage.py"]), env=environment(image), check=False)
    assert outcome.returncode != 0, "the file system can be changed"
    with_server(image, "web", "Booting worker")
    with_server(image, "scheduler", "The scheduler is running.")


def environment(image: Stage) -> dict[str, str]:
    return {**image.env, "DATABASE_URL": os.environ["DATABASE_URL"], "WEB_CONCURRENCY": "2"}


def entrypoint(image: Stage, *arguments: str) -> list[str]:
    return image.command([*json.loads(image.said["ENTRYPOINT"]), *arguments])


def run(image: Stage, *arguments: str) -> None:
    print("---", *arguments, flush=True)
    subprocess.run(entrypoint(image, *arguments), env=environment(image), check=True)


def with_server(image: Stage, command: str, says: str) -> None:
    """Start a command that goes on, try it, and end it as a container engine does."""
    print("---", command, flush=True)
    process = subprocess.Popen(
        entrypoint(image, command), env=environment(image), stderr=subprocess.STDOUT, stdout=subprocess.PIPE
    )
    assert process.stdout
    try:
        for line in process.stdout:
            print(line.decode(), end="", flush=True)
            if says.encode() in line:
                break
        if command == "web":
            try_web(image)
        os.kill(child(child(process.pid)), signal.SIGTERM)  # bwrap starts another of itself, and that the command.
        print(process.communicate(timeout=SECONDS)[0].decode())
    finally:
        process.kill()
    assert process.returncode == 0, f"{command} ended with {process.returncode}"


def child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def try_web(image: Stage) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            assert urlopen("http://127.0.0.1:8000/subscribe/", timeout=5).status == 200
            break
        except OSError:
            assert time.monotonic() < end, "the web server does not answer"
            time.sleep(0.2)
    healthy = json.loads(image.said["HEALTHCHECK"].partition("CMD ")[2])
    subprocess.run(image.command(healthy), env=environment(image), check=True)


if __name__ == "__main__":
    main()
