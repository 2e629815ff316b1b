"""What a page is made of, and how it becomes HTML, PDF, JSON and CSV: knows no run."""
