"""The verbs that change what is in Redis: one Lua file each, and here one typed stub per file, by who uses them."""
