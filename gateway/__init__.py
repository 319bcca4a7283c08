"""Spectrophone: the gateway of a photoacoustic sensor box. Start at gateway/loop.py.

One thread for linear algebra: our matrices are small, and the threads that OpenBLAS would wake for some of them spin
for longer than the product takes.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
