"""How the daemon is doing: told over MQTT, in a file, to Prometheus and to systemd."""
