"""The half of the sandbox that stands in for Perma.cc, written from perma.md."""
