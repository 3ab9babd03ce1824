"""What two flights over one place show differently: which things appeared and which vanished."""
