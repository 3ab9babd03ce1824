"""Rules over counts become alerts: their life, what a restart needs of it, and how it is written."""
