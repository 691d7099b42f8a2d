"""As everywhere else in the service: nobody takes 03/01 for January, or midnight for noon."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
