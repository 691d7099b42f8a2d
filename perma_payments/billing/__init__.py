"""Pure rules: statuses, schedules and what is covered, money. No database, no HTTP, no clock."""
