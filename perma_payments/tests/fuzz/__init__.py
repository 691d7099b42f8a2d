"""Random damage to valid requests, at every layer: ``fab fuzz`` (docs/development.md).

``dice.py`` decides what is damaged, ``damage.py`` damages, ``cases.py`` makes requests, ``world.py`` sends them
and looks at what they did, and ``test_fuzz.py`` says what must never happen.
"""
