"""Store and forward in SQLite: nothing leaves the drone but through here."""
