"""The servers that Headrace brings along for one machine: process management, and nothing of what they serve."""
