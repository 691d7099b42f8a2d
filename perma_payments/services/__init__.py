"""What Perma Payments does, one module per use. Every service takes the current time as an argument."""
