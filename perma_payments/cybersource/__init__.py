"""All that is said to and heard from CyberSource Secure Acceptance (docs/contracts/cybersource.md).

No Django models, no HTTP, no settings: keys, endpoints and the clock are arguments. Should Perma.cc
move to another processor, this folder is what changes.
"""
