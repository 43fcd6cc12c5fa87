"""Our own API, below `/api/w/{workspace}/headrace`: all that the pages show and do.

Handlers are thin: what is read and done stands in `shared`, where the commands use it too, and is carried out by
`console.blocking`. Answers are msgspec structs; errors are problem documents (`console.errors`).
"""
