"""Action nodes: who is told of what is measured, and how."""
