"""The demo: a virtual flight over a real orthophoto, the daemon itself, and what a subscriber heard of it."""
