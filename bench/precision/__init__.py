"""How precise the gateway is, against the Cramer-Rao bound and beside other ways of doing it: `python -m
bench.precision`.
"""
