"""The connection to the broker: only `connection.py` knows paho; `link.py` is the daemon's."""
