"""An RTSP camera for the tests: GStreamer's own server. Run by the system's Python, which has its bindings.

    /usr/bin/python3 rtsp_server.py PORT [--locked]

/cam is a moving picture, /udp the same by UDP alone. With --locked both ask for pilot and s3cret.
Words on standard input: `resize WIDTH HEIGHT` gives the pictures another size in mid-stream, `lose` drops
each tenth packet from then on.
"""

import itertools
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

VIDEO = (
    "( videotestsrc is-live=true pattern=ball ! videoscale ! "
    "capsfilter name=size caps=video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! "
    "rtph264pay name=pay0 config-interval=-1 )"
)


class Cameras:
    """One server. Every media pipeline is shared, and remembered so that its size can be changed."""

    def __init__(self, port: str, locked: bool) -> None:
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(port)
        self.media = []
        for path, protocols in (("/cam", None), ("/udp", GstRtsp.RTSPLowerTrans.UDP)):
            factory = GstRtspServer.RTSPMediaFactory()
            factory.set_launch(VIDEO)
            factory.set_shared(True)
            if protocols is not None:
                factory.set_protocols(protocols)
            if locked:
                self.permit(factory)
            factory.connect("media-configure", lambda _, media: self.media.append(media))
            self.server.get_mount_points().add_factory(path, factory)
        if locked:
            self.lock()
        self.server.attach(None)

    def permit(self, factory: GstRtspServer.RTSPMediaFactory) -> None:
        """Only who has logged in may see it."""
        rights = "pilot, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
        factory.add_role_from_structure(Gst.Structure.from_string(rights)[0])

    def lock(self) -> None:
        """Ask everybody for a name and password."""
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "pilot")
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("pilot", "s3cret"), token)
        self.server.set_auth(auth)

    def lose(self) -> None:
        """Drop packets on their way out, as a bad radio link does."""
        sent = itertools.count(1)

        def judge(*_: object) -> Gst.PadProbeReturn:
            return Gst.PadProbeReturn.OK if next(sent) % 10 else Gst.PadProbeReturn.DROP

        for media in self.media:
            pad = media.get_element().get_by_name("pay0").get_static_pad("src")
            pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, judge)

    def resize(self, width: str, height: str) -> None:
        """Go on in another size, as a camera whose settings are changed."""
        for media in self.media:
            size = media.get_element().get_by_name("size")
            caps = f"video/x-raw,format=I420,width={width},height={height},framerate=25/1"
            size.set_property("caps", Gst.Caps.from_string(caps))


def main() -> None:
    """Serve until standard input ends."""
    Gst.init(None)
    cameras = Cameras(sys.argv[1], "--locked" in sys.argv)
    loop = GLib.MainLoop()

    def listen() -> None:
        for line in sys.stdin:
            word, *values = line.split()
            GLib.idle_add({"resize": cameras.resize, "lose": cameras.lose}[word], *values)
        loop.quit()

    threading.Thread(target=listen, daemon=True).start()
    print("ready", cameras.server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
