"""The control room's page: the whole fleet, its alerts, their pictures and its prompts, live in a browser."""
