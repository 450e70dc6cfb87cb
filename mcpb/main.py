"""Start the server from an unpacked bundle: `main.py SANDBOX [FOLDER…]`.

The host fills in what the person chose: `true` or `false` for the sandbox, then each folder as an argument of its own.
What they left open arrives as the manifest's own placeholder, `${user_config.…}`.
"""

import os
import sys


def chosen(arguments: list[str]) -> tuple[list[str], str | None]:
    """The server's own arguments, and the value of `TTP_MEDIA_DIRS` or None."""
    sandbox, *folders = arguments or ["false"]
    folders = [folder for folder in folders if folder and not folder.startswith("${user_config.")]
    return ["--sandbox"] if sandbox == "true" else [], os.pathsep.join(folders) or None


if __name__ == "__main__":
    options, folders = chosen(sys.argv[1:])
    if folders is not None:
        os.environ["TTP_MEDIA_DIRS"] = folders
    sys.argv[1:] = options
    # After the settings are in place, which the server reads when it starts.
    from ttp_mcp.cli import main

    sys.exit(main())
