"""Private search: a buyer asks which cards are nearest to a query that the platform never sees."""
