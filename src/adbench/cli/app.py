"""`adbench app`: a page in the browser for a detector."""

from __future__ import annotations

import time
from collections.abc import Sequence

from adbench.cli import detectors
from adbench.cli.overrides import Overrides
from adbench.typed import PositiveInt

SUMMARY = "open a page in the browser: drop pictures, see scores, verdicts and maps"

HELP = f"""\
usage  python -m adbench app checkpoint=RUN [class_name=NAME] [threshold=NUMBER] [port=NUMBER] [host=ADDRESS]

Serves a page on which pictures are dropped. It shows each one's score, its verdict where a threshold is known, and the
map on the picture; class words and threshold can be changed there. Only this computer can open it: host=0.0.0.0 lets
everybody in who can reach the computer, without a password. Ends with Ctrl-C. Nothing is sent anywhere; pictures are
copied to the temporary folder and removed after an hour. Needs the extra: pip install 'adbench-clip[app]'.

{detectors.HELP}
the page
  threshold=NUMBER          instead of the calibrated one (`calibrate`)
  port=7860                 the first free one from 7860 on, if it is not given
  host=127.0.0.1            the address that it listens at

examples
  python -m adbench app checkpoint=latest class_name=gear
  python -m adbench app method=winclip clip=demo class_name=gear support.path=normal
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench app` with these words, until it is interrupted."""
    overrides = Overrides("app", argv)
    overrides.only(*detectors.KEYS, "threshold", "port", "host")
    from adbench.api.app import LOOPBACK, make_app, require_gradio, serve
    from adbench.engine.progress import make_reporter

    require_gradio()
    port = overrides.read("port", PositiveInt)
    host = str(overrides.get("host") or LOOPBACK)
    threshold = overrides.read("threshold", float)
    reporter, class_name = make_reporter(), detectors.class_name_of(overrides)
    detector = detectors.open_detector(overrides)
    support = detectors.support_pictures(overrides, detector, class_name)
    detectors.say_detector(detector, class_name, reporter)
    app = make_app(detector, class_name=class_name, support=support, threshold=threshold)
    address = serve(app, host=host, port=port)
    if host != LOOPBACK:
        reporter.say(f"open to all   whoever reaches {host} can use it, without a password")
    reporter.say("serving      until Ctrl-C")
    print(address, flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    finally:
        app.close(verbose=False)
