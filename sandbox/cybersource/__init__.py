"""The half of the sandbox that stands in for CyberSource's hosted checkout (cybersource.md)."""
