"""From inbox to queue: which runnables a message is for, and one run for each."""
