"""Walls of the kernel around a worker."""
