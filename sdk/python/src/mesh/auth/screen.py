"""What a person at a terminal sees and is asked during a login, in plain text; `mesh-auth` has a richer one."""

import sys

from mesh.auth.device import DeviceCode
from mesh.auth.terminal import far_away, has_display, interactive


class Screen:
    """Talks to the person on stderr, so that a program's output stays its own."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._reading = True
        self._typed = ""

    def say(self, text: str = "") -> None:
        """Show a line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def show_code(self, code: DeviceCode) -> None:
        """Show where to go and the code to confirm there."""
        self.say(f"To log in to {self.server}, open this page on any device:")
        self.say(f"\n    {code.complete_url or code.url}\n")
        self.say("and confirm that it shows this code:" if code.complete_url else "and enter this code:")
        self.say(f"\n    {code.user_code}\n")
        self.say(f"Waiting for you, for {code.lives_s / 60:.0f} minutes. Ctrl-C gives up.")

    def show_address(self, url: str, *, opened: bool) -> None:
        """Show the page to log in at, and what to do where the browser can't come back."""
        self.say("Your browser was opened. If it was not, go to:" if opened else "To log in, open this page:")
        self.say(f"\n    {url}\n")
        if far_away() or not opened:
            self.say("If the browser ends at a page that it can't open (its address begins with http://localhost),")
            self.say("copy that address and paste it here, then press Enter.")

    def open(self, url: str) -> bool:
        """Open a page in a browser, where there is one that a person sees; returns whether it seems to have worked."""
        if far_away() or (sys.platform.startswith("linux") and not has_display()):
            return False
        import webbrowser  # noqa: PLC0415 - only here

        try:
            return webbrowser.open(url)
        except (webbrowser.Error, OSError):
            return False

    def pasted(self) -> str | None:
        """Return a line that was typed or pasted meanwhile; never waits."""
        if not self._reading or not interactive():
            return None
        return self._line()

    def ask(self, question: str) -> bool:
        """Ask a question; anything but yes is no."""
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    if sys.platform == "win32":

        def _line(self) -> str | None:
            """Collect typed keys: a console can't be asked for a line without waiting for it."""
            import msvcrt  # noqa: PLC0415 - only while a person logs in

            while msvcrt.kbhit():
                key = msvcrt.getwche()
                if key == "\x03":
                    raise KeyboardInterrupt
                if key in {"\r", "\n"}:
                    line, self._typed = self._typed, ""
                    return line.strip() or None
                self._typed += key
            return None

    else:

        def _line(self) -> str | None:
            """Read a line if there is one."""
            import select  # noqa: PLC0415 - as above

            if not select.select([sys.stdin], [], [], 0)[0]:
                return None
            line = sys.stdin.readline()
            self._reading = bool(line)  # an end of input would be "ready" for ever
            return line.strip() or None
