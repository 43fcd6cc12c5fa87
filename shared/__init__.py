"""What all processes share: the records, the store with its verbs, settings, events, and the root of the command."""
