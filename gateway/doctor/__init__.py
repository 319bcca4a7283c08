"""What this box has and lacks, each with its remedy: a table of small checks in the order in which a person would mend.

`checks.CHECKS` is the table, `checks.findings` goes through it. Every check looks at one `Place`: the machine whose
files are below a root, with a configuration and a board. None drives an output, and none takes a part from a gateway
that runs.
"""
