"""Customers on their way to CyberSource: begin or resume a checkout, and what can be modified."""
