"""Runs the script on a message that was captured, without broker and without Headrace."""

import json
from pathlib import Path

from f.plant import on_reading

EVENT = json.loads((Path(__file__).parent / "reading.json").read_text())


def test_a_hot_reading_is_told():
    arguments = on_reading.preprocessor(EVENT)

    assert arguments == {"site": "north", "degrees": 35.0}
    assert on_reading.main(**arguments) == {"site": "north", "degrees": 35.0, "hot": True}


def test_the_limit_can_be_set():
    assert on_reading.main("north", 35.0, limit=40)["hot"] is False
