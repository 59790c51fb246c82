"""What a person sees during `mesh-auth`: address and code large, and a QR code where the terminal can."""

import io
import sys

from rich.align import Align
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from mesh.auth.device import DeviceCode
from mesh.auth.screen import Screen
from mesh.auth.terminal import interactive

#: The least columns and lines of a terminal in which a QR code leaves room for the words.
_QR_COLUMNS, _QR_LINES = 60, 32


class RichScreen(Screen):
    """As `Screen`, with colours and a QR code."""

    def __init__(self, server: str, console: Console, *, opens: bool) -> None:
        """Make it.

        Args:
            server: what is logged in to.
            console: for stderr.
            opens: whether a browser may be opened for the person.
        """
        super().__init__(server)
        self._console = console
        self._opens = opens

    def say(self, text: str = "") -> None:
        """Show a line."""
        self._console.print(Text(text), soft_wrap=text.lstrip().startswith("http"))

    def show_code(self, code: DeviceCode) -> None:
        """Show where to go and the code to confirm there."""
        address = code.complete_url or code.url
        if interactive():
            self._show_qr(address)
        opened = self._opens and self.open(address)
        self.say("Your browser was opened. If it was not, go to:" if opened else "On any device, open:")
        self._console.print(Text(f"\n  {address}\n", style="bold cyan"), soft_wrap=True)  # to be copied whole
        self.say("Log in there, and confirm that it shows this code:" if code.complete_url else "and enter this code:")
        large = Text(code.user_code, style="bold green")
        if self._console.is_terminal:
            self._console.print(Panel(Align.center(large), width=max(34, len(large) + 8), padding=(1, 2)))
        else:
            self.say(f"\n  {code.user_code}\n")
        self.say(f"Waiting for you, for {code.lives_s / 60:.0f} minutes. Ctrl-C gives up.")

    def _show_qr(self, address: str) -> None:
        if self._console.width < _QR_COLUMNS or self._console.height < _QR_LINES or not _shows_blocks():
            return
        import segno  # noqa: PLC0415 - only for a terminal that can show it

        drawn = io.StringIO()
        segno.make(address, error="l", micro=False).terminal(drawn, border=2, compact=True)
        self._console.file.write(drawn.getvalue() + "\n")


def _shows_blocks() -> bool:
    try:
        "▀▄█".encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
