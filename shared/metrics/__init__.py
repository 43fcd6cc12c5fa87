"""What processes count and measure of themselves, and how they tell it: Prometheus' text over HTTP, and health.

`catalogue` names every metric; `instruments` are what the loops write to; `exposition` is the door to
prometheus-client; `listener` serves it from a thread; `installation` is what the console tells of the whole.
"""
