"""What tests share: servers and processes to start and to kill, and ways to wait for them."""
