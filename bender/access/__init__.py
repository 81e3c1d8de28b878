"""Access control: the tokens of a node, and what each permits.

It decides who may do something; the shells ask it before they do it. It must never keep, log or show a secret.
"""
