"""The page's server and the API beneath it (docs/api.md). Nothing of it is imported where the configuration has no
section `web`.
"""
