"""Where the camera was and how it looked when each frame was captured: MAVLink, AU-AIR and DJI records."""
