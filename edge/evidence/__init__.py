"""Pictures of what raised an alert: made, kept in a ring on the disk, and handed out."""
