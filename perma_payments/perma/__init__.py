"""All that is said to and heard from Perma.cc, over the wire of docs/contracts/perma.md.

No Django models, no HTTP, no settings: keys, limits and the clock are arguments.
"""
