"""What a second of sound costs, ours beside others in one run: python -m bench.speed [--json]."""
