"""What the addresses of pages have in common: pages are read, forms act and lead to a page that says what was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.datastructures import FormMultiDict
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK, HTTP_303_SEE_OTHER

from console.callers import Caller
from console.needs import needs
from console.strangers import read_object
from console.view import is_own_path
from shared.errors import UserError
from shared.tokens import Scope

Asked = Request[Caller, None, Any]


class Typed(msgspec.Struct, frozen=True):
    """Arguments that somebody has typed, and what is wrong with them."""

    text: str
    problem: str
    hint: str


def page(path: str, scope: Scope = "read") -> Callable[[Any], HTTPRouteHandler]:
    """The decorator of a handler that makes a page."""
    return get(path, opt=needs(scope), include_in_schema=False)


def action(path: str, scope: Scope) -> Callable[[Any], HTTPRouteHandler]:
    """The decorator of a handler that does what a form asks for, and redirects."""
    return post(path, opt=needs(scope), include_in_schema=False, status_code=HTTP_303_SEE_OTHER)


def answer(path: str, scope: Scope, *, audited: bool = False) -> Callable[[Any], HTTPRouteHandler]:
    """The decorator of a handler that answers a form with a page. Not audited: it changes nothing."""
    return post(path, opt=needs(scope, audited=audited), include_in_schema=False, status_code=HTTP_200_OK)


def text(form: FormMultiDict, name: str) -> str:
    """A field of a form, '' where it is not there."""
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def read_arguments(text: str) -> dict[str, Any]:
    """Arguments that somebody has typed as JSON. Raises UserError."""
    try:
        return read_object(text or "{}", "the arguments are")
    except UserError as error:
        raise UserError(error.message, hint="nothing was queued; mend it and send it again") from error


def texts(form: FormMultiDict, name: str) -> list[str]:
    """All fields of one name."""
    return [value for value in form.getall(name, []) if isinstance(value, str)]


def back(form: FormMultiDict, otherwise: str) -> str:
    """The page that the form was on, as it says itself."""
    wanted = text(form, "back")
    return wanted if wanted and is_own_path(wanted) else otherwise
