"""Tests of the sandbox. They need neither Perma Payments nor a browser."""
