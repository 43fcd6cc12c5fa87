"""The pages: one module a page, each with what it reads, its addresses, and what its forms do."""
