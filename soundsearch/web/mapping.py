"""The map of the library, or how far it is."""

from __future__ import annotations

import gzip
from typing import Any

from anyio import to_thread
from starlette.responses import Response

from .maps import Making
from .packing import takes_gzip
from .problems import JSON
from .service import Call

__all__ = ["map"]


async def map(call: Call) -> Response:
    """Where clips are on the map, and what is shown of them."""
    found = await call.service.maps.find(call.values["where"], call.values["method"])
    if isinstance(found, Making):
        told: dict[str, Any] = {"step": found.step, "share": round(found.share, 3)}
        answer = JSON(told, 202)
        answer.headers["Retry-After"] = "1"
        return answer
    request = call.request.headers
    headers = {
        "Cache-Control": "private, no-cache",
        "ETag": f'W/"{found.tag}"',  # of the packed and the plain form alike
        "Vary": "Accept-Encoding",
    }
    if f'"{found.tag}"' in request.get("if-none-match", ""):
        return Response(None, 304, headers)
    if takes_gzip(request.get("accept-encoding", "")):
        content, headers["Content-Encoding"] = found.content, "gzip"
    else:
        content = await to_thread.run_sync(gzip.decompress, found.content)
    return Response(content, 200, headers, "application/json")
