"""The example of a .env file lists what there is, and nothing else."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_that_is_read_is_listed_and_the_reverse():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "perma_payments" / "settings.py").read_text()))
    listed = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert len(read) > 30
    assert listed == read
