"""``/openapi.json``, typed from the models that are ready, and ``/docs``, which shows it.

What an operation needs is told from the same table by which it is guarded.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.staticfiles import StaticFiles

from augury.core.caller import Caller
from augury.edge.auth.scopes import required_scope
from augury.lifecycle.manager import Manager
from augury.protocols.native.schema import PROBLEM, PROBLEM_SCHEMA, predict_paths

ASSETS: Final = "/docs/assets"


_SCHEMES: Final = {
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "The superuser's name and password; or any name, and an API key as password.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`augury keys create`), or the admin token.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key (`augury keys create`).",
    },
}


def install(api: FastAPI, manager: Manager, anonymous: Caller) -> None:
    """Give *api* its document and the page that shows it.

    Args:
        api: The application.
        manager: Its models.
        anonymous: The caller without a credential; what he may do needs none.
    """
    api.openapi = _typed_openapi(api, manager, anonymous)  # type: ignore[method-assign]
    _install_page(api)


def _typed_openapi(
    api: FastAPI, manager: Manager, anonymous: Caller
) -> Callable[[], dict[str, Any]]:
    """The document; the models' part is made anew each time, it costs less than to know whether it must."""
    fixed: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not fixed:
            fixed.update(
                get_openapi(
                    title=api.title,
                    version=api.version,
                    description=api.description,
                    routes=api.routes,
                )
            )
            _tell_problems(fixed)
            _tell_scopes(fixed["paths"], anonymous)
            fixed["components"]["securitySchemes"] = _SCHEMES
        models = predict_paths(manager)
        _tell_scopes(models, anonymous)
        return {**fixed, "paths": {**models, **fixed["paths"]}}

    return openapi


def _tell_problems(document: dict[str, Any]) -> None:
    """Put our own answer to invalid requests in the place of FastAPI's, which nobody gets here."""
    for path in document["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            if responses.pop("422", None) is not None and "400" not in responses:
                responses["400"] = {"description": "The request does not fit", "content": PROBLEM}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM_SCHEMA


def _tell_scopes(paths: dict[str, Any], anonymous: Caller) -> None:
    """Say of each operation which credentials it takes, and how a lack of them is answered."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            need = required_scope(method.upper(), path)
            if need is None:
                operation["security"] = []
                continue
            schemes: list[dict[str, list[str]]] = [{name: [need]} for name in _SCHEMES]
            # An empty one: it may be left out.
            operation["security"] = [{}, *schemes] if anonymous.may(need) else schemes
            responses = operation["responses"]
            responses.setdefault(
                "401", {"description": "A credential is needed, or is wrong", "content": PROBLEM}
            )
            responses.setdefault(
                "403",
                {"description": f"The credential lacks the scope `{need}`", "content": PROBLEM},
            )


def _install_page(api: FastAPI) -> None:
    """``/docs`` with Swagger UI from the package ``fastapi-offline``, so that no other host is asked."""
    # Found, not imported: we want its files, not its FastAPI class.
    package = find_spec("fastapi_offline")
    assert package is not None and package.origin is not None  # noqa: S101, PT018 - a dependency
    api.mount(ASSETS, StaticFiles(directory=Path(package.origin).with_name("static")))
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=api.title,
        swagger_js_url=f"{ASSETS[1:]}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS[1:]}/swagger-ui.css",
        swagger_favicon_url="data:,",
    )

    # Framed by a foreign page, its buttons would act with the visitor's own credentials.
    page.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
    page.headers["X-Content-Type-Options"] = "nosniff"

    @api.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """The page is the same for all."""
        return page
