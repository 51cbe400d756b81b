"""The report of many evaluations: tables, one HTML page, and the same tables as Markdown."""
