"""Perma.cc's protocol (docs/contracts/perma.md): what it sends, and what it is sent.

No Django models, no HTTP, no settings: keys, limits, and the current time are arguments.
"""
