"""What FFmpeg's error about an RTSP camera means, and what to do about it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from edge.sources.camera import CameraError

_PORTS = {"rtsp": 554, "rtsps": 322}


def why_unreachable(name: str, url: str, error: Exception, patience_s: float) -> CameraError:
    """Why no connection to the camera could be made, as one line with its mend."""
    from av import error as av_error

    refusals: tuple[tuple[type[Exception], str, str], ...] = (
        (
            av_error.HTTPUnauthorizedError,
            "the camera refuses the login (check username and password_file of the source)",
            "login refused",
        ),
        (
            av_error.HTTPForbiddenError,
            "the camera forbids this stream to this user (check the user's rights on the camera)",
            "login refused",
        ),
        (
            av_error.HTTPNotFoundError,
            "the camera has no stream of that path (look the path up in its settings)",
            "no such stream",
        ),
        (
            av_error.HTTPOtherClientError,
            "the camera refuses the request (try another transport, or set its video to H.264)",
            "request refused",
        ),
        (
            av_error.HTTPServerError,
            "the camera has a fault of its own (restart it)",
            "camera fault",
        ),
        (
            av_error.ProtocolNotFoundError,
            "this FFmpeg cannot speak that protocol (use rtsp://)",
            "no camera",
        ),
    )
    for kind, problem, cause in refusals:
        if isinstance(error, kind):
            return CameraError(f"{name}: {problem}", cause)
    # FFmpeg says "Input/output error" of an unknown name and of much else, so the network is asked itself.
    problem = _no_way_to(url, patience_s) or (
        f"no video within {patience_s:g} s (is it really an RTSP camera, and does it run? {words(error)})"
    )
    return CameraError(f"{name}: {problem}", "no camera")


def why_lost(name: str, error: Exception, stall_s: float) -> CameraError:
    """Why a connection that worked has ended."""
    from av import error as av_error

    if isinstance(error, (av_error.ExitError, TimeoutError)):
        return frozen(name, stall_s)
    if isinstance(error, av_error.InvalidDataError):
        return CameraError(f"{name}: nothing but damaged data (check the link)", "stream damaged")
    return CameraError(f"{name}: the connection was lost ({words(error)})", "connection lost")


def frozen(name: str, stall_s: float) -> CameraError:
    """A camera that is connected and sends nothing."""
    return CameraError(f"{name}: frozen, nothing came for {stall_s:g} s", "stream frozen")


def words(error: Exception) -> str:
    """The error without the URL, which FFmpeg's own text repeats with its password."""
    return getattr(error, "strerror", None) or type(error).__name__


def _no_way_to(url: str, patience_s: float) -> str:
    """Why the camera's port cannot be reached; empty if it can."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme.lower(), 554)
    try:
        socket.create_connection((host, port), timeout=patience_s).close()
    except (socket.gaierror, UnicodeError):
        return f"no host of the name {host} is known (check the address, or give its IP address)"
    except ConnectionRefusedError:
        return f"nothing listens at port {port} of {host} (check the port, and that the camera runs)"
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else str(error.strerror or error)
        return f"{host} cannot be reached: {reason} (check power, cable and address of the camera)"
    return ""
