"""Tests of scripts and flows, written beside them as `<path>.test.yaml`: events in, what has to come of it out."""
