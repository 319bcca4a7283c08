"""The bench is for `make test-hil`, which says so by naming its cache; every other run of pytest passes it by."""

import os

collect_ignore_glob = [] if "SPECTROPHONE_HIL" in os.environ else ["test_*.py"]
