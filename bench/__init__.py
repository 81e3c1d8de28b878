"""Measurements that anyone can repeat; README.md says what each of them measures and how."""
