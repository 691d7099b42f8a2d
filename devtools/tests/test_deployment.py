"""What deploys the service names files, commands and settings that exist, and limits that go together."""

import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands
from invoke.vendor import yaml

from devtools import ROOT
from perma_payments import __version__
from perma_payments.settings import env
from perma_payments.tests.programs import need

PRODUCTION = ROOT / "docker/production"
DOCKERFILE = (PRODUCTION / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PRODUCTION / "docker-compose.yml").read_text())
SERVICES = {name: service for name, service in COMPOSE["services"].items() if "perma-payments" in service["image"]}
NGINX = (ROOT / "deploy/nginx/perma-payments.conf").read_text()
UNITS = {path.name: path.read_text() for path in (ROOT / "deploy/systemd").glob("*.*") if path.is_file()}
PAGE = (ROOT / "docs/deployment.md").read_text()
GUNICORN = runpy.run_path(str(ROOT / "gunicorn.conf.py"))


def seconds(text: str, name: str) -> int:
    """The value of a time-out in a unit, in nginx's file, or in a Dockerfile."""
    (value,) = set(re.findall(rf"\b{name}[= ](\d+)s?\b", text))
    return int(value)


def is_ours(name: str) -> bool:
    return name.removesuffix("_FILE") in env.names


def test_the_image_holds_what_the_service_reads_and_says_its_version() -> None:
    kept = re.findall(r"^!(.+)$", (PRODUCTION / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert [path for path in kept if not (ROOT / path).exists()] == []
    (entrypoint,) = json.loads(re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)[0])
    needed = {entrypoint, "manage.py", "gunicorn.conf.py", "requirements.txt", "docs/staff.md"}
    needed |= {str(Path(directory).relative_to(ROOT)) for _, directory in settings.STATICFILES_DIRS}
    assert needed <= set(kept)
    assert (ROOT / entrypoint).stat().st_mode & 0o111
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE


def test_images_are_pinned_by_digest() -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.MULTILINE)
    sources = [name for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if name not in stages]
    assert sources
    assert [name for name in sources if not re.search(r"@sha256:[0-9a-f]{64}$", name)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_containers_run_without_rights_on_a_file_system_that_is_read_only(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert [each for each in service["environment"] if not is_ours(each)] == []
    files = {path.removeprefix("/run/secrets/") for path in service["environment"].values()}
    assert files == set(service["secrets"]) <= set(COMPOSE["secrets"])
    assert ("owner-database-url" in files) is (name == "owner")


def test_nginx_knows_the_web_servers_by_the_addresses_that_they_have() -> None:
    upstream = (PRODUCTION / "nginx-upstream.conf").read_text()
    addresses = [
        service["networks"]["default"]["ipv4_address"] for service in SERVICES.values() if "networks" in service
    ]
    (port,) = re.findall(r"--bind 0\.0\.0\.0:(\d+)", (PRODUCTION / "entrypoint").read_text())
    assert re.findall(r"server (\S+) max_fails=0;", upstream) == [f"{address}:{port}" for address in addresses]
    (listening,) = re.findall(r"ListenStream=(\S+)", UNITS["perma-payments-web.socket"])
    on_debian = (ROOT / "deploy/nginx/perma-payments-upstream.conf").read_text()
    assert re.findall(r"server (\S+) max_fails=0;", on_debian) == [listening]


def test_everyone_waits_longer_than_those_in_front_of_them() -> None:
    web = UNITS["perma-payments-web@.service"]
    stops = {seconds(web, "TimeoutStopSec")}
    stops |= {int(service["stop_grace_period"].removesuffix("s")) for service in SERVICES.values()}
    assert min(stops) > GUNICORN["graceful_timeout"] > 45  # what a page of the admin may take
    assert seconds(NGINX, "proxy_read_timeout") > 45
    # A load balancer keeps an idle connection for 60 seconds.
    assert seconds(NGINX, "keepalive_timeout") > 60


def test_a_post_that_was_sent_is_never_sent_again() -> None:
    (tried,) = re.findall(r"proxy_next_upstream ([^;]+);", NGINX)
    assert tried.split() == ["error", "timeout"]


def test_no_log_of_nginx_holds_a_query() -> None:
    (log_format,) = re.findall(r"log_format perma_payments ([^;]+);", NGINX)
    assert "$uri" in log_format
    assert re.findall(r"\$(?:request|request_uri|args|query_string|http_referer)\b(?!_)", log_format) == []
    assert re.findall(r"error_log .*", NGINX) == ["error_log /var/log/nginx/error.log crit;"]


def test_units_run_commands_that_exist() -> None:
    run = [line for unit in UNITS.values() for line in re.findall(r"^Exec\w+=(.+)$", unit, re.MULTILINE)]
    commands = {match[1] for line in run if (match := re.search(r"manage\.py (\w+)", line))}
    assert commands == {"check", "migrate", "grant_access", "run_scheduler"} <= set(get_commands())
    assert any(line.endswith("/.venv/bin/gunicorn") for line in run)
    names = [name for unit in UNITS.values() for name in re.findall(r"\b([A-Z_]+_FILE)=", unit)]
    assert names and [name for name in names if not is_ours(name)] == []


def test_the_page_names_units_commands_and_settings_that_exist() -> None:
    units = {unit.partition("@")[0] for unit in re.findall(r"perma-payments-(?:web|scheduler|migrate)\b@?", PAGE)}
    assert units == {name.partition("@")[0].partition(".")[0] for name in UNITS}
    commands = set(re.findall(r"manage\.py (\w+)|--rm (?:--\S+ )*(?:owner|scheduler) (\w+)", PAGE))
    assert {command for pair in commands for command in pair if command} <= set(get_commands())
    table = re.findall(r"^ *\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)
    assert table and [name for name in table if not is_ours(name)] == []


@pytest.mark.parametrize(
    "upstream", ["deploy/nginx/perma-payments-upstream.conf", "docker/production/nginx-upstream.conf"]
)
def test_nginx_can_read_its_files(tmp_path: Path, upstream: str) -> None:
    # Without certificates, and with nothing outside of this directory.
    site = re.sub(r"ssl_certificate.*|(?<=443) ssl", "", NGINX).replace("/var/log/nginx", str(tmp_path))
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid; events {{}} http {{ {(ROOT / upstream).read_text()} {site} }}")
    tried = subprocess.run(
        [need("nginx"), "-t", "-p", tmp_path, "-e", tmp_path / "e", "-c", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "test is successful" in tried.stderr, tried.stderr
