"""What competes. Each module is imported only in the process that runs it."""
