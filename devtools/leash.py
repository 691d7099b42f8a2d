"""Run a command that ends when its caller ends, however that happens.

    python -m devtools.leash COMMAND [ARGUMENT...]

The leash is this process's standard input: a pipe whose other end only the caller holds, so that it ends even if
the caller is killed. Then the command and everything that it has started are told to end, and killed if they
do not. When the command ends by itself, so does the leash, with the same exit code.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

SECONDS_TO_END = 3


def main(command: list[str]) -> None:
    # In a session of its own, the command and what it starts are a group that can be ended as one.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: end(process.pid, signal.SIGTERM))
    threading.Thread(target=end_with_input, args=[process.pid], daemon=True).start()
    code = process.wait()
    end(process.pid, signal.SIGKILL)  # Anything that the command left behind.
    os._exit(code if code >= 0 else 128 - code)  # Without waiting for the thread.


def end_with_input(group: int) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    end(group, signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    end(group, signal.SIGKILL)


def end(group: int, sign: signal.Signals) -> None:
    # On macOS it is PermissionError if all of them have ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, sign)


if __name__ == "__main__":
    main(sys.argv[1:])
