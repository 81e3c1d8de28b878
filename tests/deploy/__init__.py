"""Tests of deploys that watch their effects."""
