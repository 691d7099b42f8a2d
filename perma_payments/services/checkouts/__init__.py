"""Customers on their way to CyberSource: what begins a checkout, and what a subscription may still become."""
