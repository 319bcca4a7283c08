"""Customers' Python: loaded, confined, called."""
