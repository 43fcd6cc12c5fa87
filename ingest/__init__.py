"""From broker to inbox: MQTT sessions that acknowledge a message when it is stored, and not before."""
