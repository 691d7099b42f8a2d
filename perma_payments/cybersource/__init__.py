"""CyberSource Secure Acceptance's protocol (docs/contracts/cybersource.md): what it sends, and what it is sent.

No Django models, no HTTP, no settings: keys, addresses, and the current time are arguments. To support another
processor, add a folder beside this one.
"""
