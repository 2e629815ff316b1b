"""The report of one run: its answers, tables, checklist and assessment."""
