"""Prompt lists: sentences become rows of numbers; lists that change in flight."""
