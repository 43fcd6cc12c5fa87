"""Telling people when something is wrong: found in Redis by whichever process lives, decided purely, delivered twice.

`findings` says what is wrong at this moment, `decide` which of that is told now, `deliver` hands it to a script and a
webhook, `watch` is the thread that every process has for it. One of them at a time holds the lease and does it.
"""
