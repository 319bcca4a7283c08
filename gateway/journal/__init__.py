"""The journal: every measurement, alert and command, kept through power cuts, and how far each sink has got."""
