"""Receives the mail of Perma Payments and shows it. The mail goes no further."""
