"""The sandbox: stand-ins of Perma.cc and of CyberSource's hosted checkout, for development.

One small web application on its own port. It is written from the two contracts alone (perma.md and
cybersource.md, in the project's docs) and shares no code with Perma Payments, so that each checks
the other. It handles invented people and public test cards only, keeps everything in memory, and
must never be put where the public can reach it.
"""
