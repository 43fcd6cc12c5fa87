"""The start page."""

from __future__ import annotations

from litestar import Router, get
from litestar.response import Template

from console.needs import needs
from console.view import View


@get("/", opt=needs("read"), include_in_schema=False)
async def home(view: View) -> Template:
    """What there is to see."""
    return view.page("home.html", title="Overview")


routes = Router("/", route_handlers=[home])
