"""ISO dates and 24-hour times, as everywhere else in the service: 03/01 and 12:00 could be misread."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
