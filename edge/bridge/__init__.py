"""Bridges from the fleet's MQTT messages to what other control rooms speak."""
