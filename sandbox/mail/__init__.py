"""Takes the mail of Perma Payments and shows it; it goes no further."""
