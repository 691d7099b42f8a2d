"""What Perma Payments does, one module per use. The clock is an argument of every service."""
