"""`retouch sandbox`: the embedded endpoint on its own."""

from __future__ import annotations

import click

from pipeline.cli.options import Whole, json_option


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=Whole(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--key", metavar="KEY", help="Accept only this key; default: any.")
@click.option("--faults", default="", metavar="SPEC", help="Faults to make, such as rate=0.1,reset=0.05,seed=7.")
@click.option("--latency", default=None, metavar="SPEC", help="2s for every answer, or 0.1 of the real time.")
@click.option("--plain", is_flag=True, help="Answer with one-coloured pictures: for many requests in a short time.")
@json_option
def command(
    *, host: str, port: int, key: str | None, faults: str, latency: str | None, plain: bool, as_json: bool
) -> int:
    """Serve an images/edits endpoint that behaves like the real one; stops on Ctrl-C.

    Its own bill is at /sandbox/bill.
    """
    from pipeline.cli.terminal import out, print_json, say
    from pipeline.run.embedded import serve_until_signal
    from pipeline.run.exits import Exit

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url})
            return
        out(url)
        say(f"sandbox listening: OPENAI_BASE_URL={url} points a client at it, Ctrl-C ends it")

    serve_until_signal(host=host, port=port, key=key, faults=faults, latency=latency, plain=plain, ready=ready)
    return Exit.DONE
