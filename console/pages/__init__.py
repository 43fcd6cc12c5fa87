"""Pages for people, made on the server (see `console.view`)."""
