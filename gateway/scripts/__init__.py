"""The customer's Python: a process of its own that is confined before its first line runs."""
