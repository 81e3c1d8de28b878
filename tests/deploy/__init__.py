"""Deploys that look at what they do."""
