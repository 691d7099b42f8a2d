"""The example of a .env file lists exactly the settings that exist."""

import re
from pathlib import Path

from perma_payments.settings import env

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_that_is_read_is_listed_and_the_reverse():
    read = env.names
    listed = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert len(read) > 30
    assert listed == read
