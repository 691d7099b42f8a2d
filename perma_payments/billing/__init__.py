"""Pure rules: statuses and their transitions, paid-through dates, money. No database, no HTTP, no clock."""
