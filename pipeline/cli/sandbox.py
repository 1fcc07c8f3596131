"""`retouch sandbox`: the embedded endpoint on its own."""

from __future__ import annotations

from typing import Any

import click

from pipeline.cli.options import Whole, json_option


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=Whole(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--key", metavar="KEY", help="Accept only this key; default: any.")
@click.option("--faults", default="", metavar="SPEC", help="Faults to make, such as rate=0.1,reset=0.05,seed=7.")
@click.option("--latency", default=None, metavar="SPEC", help="2s for every answer, or 0.1 of the real time.")
@click.option("--requests-per-minute", type=Whole(1, 1_000_000), metavar="N", help="Answer 429 above this rate.")
@click.option("--burst", type=Whole(1, 1_000_000), metavar="N", help="Requests that may come at once; a minute's.")
@click.option(
    "--capacity", metavar="SPEC", help="Most requests at once, such as 64, or 64,8@30s,64@60s: changing with time."
)
@click.option("--overload", type=click.Choice(["503", "429"]), default="503", help="Status above the capacity.")
@click.option("--no-rate-headers", is_flag=True, help="Say nothing of the rate in answers: no x-ratelimit headers.")
@click.option("--no-retry-after", is_flag=True, help="Send a 429 without saying how long to wait.")
@click.option(
    "--gateway-cut", metavar="SECONDS", help="Cut a connection after so long; the work goes on and is billed."
)
@click.option("--plain", is_flag=True, help="Answer with one-coloured pictures: for many requests in a short time.")
@json_option
def command(
    *, host: str, port: int, overload: str, no_rate_headers: bool, no_retry_after: bool, as_json: bool, **options: Any
) -> int:
    """Serve an images/edits endpoint that behaves like the real one; stops on Ctrl-C.

    Its own bill is at /sandbox/bill.
    """
    from pipeline.cli.terminal import out, print_json, say
    from pipeline.run.embedded import serve_until_signal, settings_of
    from pipeline.run.exits import Exit

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url})
            return
        out(url)
        say(f"sandbox listening: OPENAI_BASE_URL={url} points a client at it, Ctrl-C ends it")

    settings = settings_of(
        overload_status=int(overload), rate_headers=not no_rate_headers, retry_after=not no_retry_after, **options
    )
    serve_until_signal(settings, host, port, ready)
    return Exit.DONE
