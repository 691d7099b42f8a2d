"""The defaults of settings in development. All of them are public, and refused elsewhere (setting_rules.py).

The keys between Perma.cc and Perma Payments are those of perma.md §6; the others belong to our sandbox.
docs/development.md has the secret half of the archive's key.
"""

import base64

from nacl.public import PrivateKey

from .cybersource.signature import SigningKey, SigningKeys

NOTICE = (
    "Perma Payments is running as development (PERMA_PAYMENTS_ENV): its keys are published, its admin asks for no "
    "second factor, and no card is charged. On a server, set PERMA_PAYMENTS_ENV=production (or staging)."
)

SECRET_KEY = "development-only:this-text-is-public-and-production-refuses-to-start-with-it"
# This machine, and what containers call it and each other. No other host can be set in development.
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "perma-payments", "host.docker.internal"]
# A PostgreSQL at its usual place. The Fabric tasks and the tests start a server of their own instead.
DATABASE_URL = "postgres:///perma_payments"

PERMA_PAYMENTS_SECRET_KEYS = {"development": base64.b64decode("aZl8CDslsIkIF9IAO6KKk5LyGzSXKZ+Vhs2ck+lXKKA=")}
PERMA_PUBLIC_KEYS = {"development": base64.b64decode("+Y3Kni4Pm+5kWFJgsBL28TyKcgciQdPofRsTwUKaVSE=")}

CS_PROFILE_ID = "5A4DB0C5-0000-4000-8000-000000000001"
CS_KEYS = SigningKeys(SigningKey(access_key="sandboxsandboxsandboxsandbox0001", secret="c0ffee00" * 32))

ARCHIVE_PUBLIC_KEY = ("development", base64.b64decode("Ukzx+GaBsGtsRPoumeguxgcO9o1LH7csoU1s/uZCvyI="))

SANDBOX_URL = "http://localhost:8001"

# With one of these halves, anyone could pretend to be the other side, no matter what it was made for.
SECRET_HALVES = frozenset(
    {
        *PERMA_PAYMENTS_SECRET_KEYS.values(),
        base64.b64decode("hneZHHft4QieiNmyVPfyYFJs3toRgixbiTqSQKJ1r2E="),  # Perma.cc's
        base64.b64decode("txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q="),  # the archive's
    }
)
PUBLIC_HALVES = frozenset(bytes(PrivateKey(half).public_key) for half in SECRET_HALVES)
