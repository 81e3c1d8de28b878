"""Measurements that anyone can repeat; README.md describes what each of them measures."""
