"""The mailbox's pages."""

from typing import Any

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for

from .mailbox import Mailbox, Mode

MODE_WORDS = {
    Mode.TAKES: "Accepts mail",
    Mode.REFUSES: "Refuses mail (451)",
    Mode.REFUSES_SOME: "Refuses every recipient except the first (550)",
    Mode.SLOW: "Slow: takes 12 seconds to confirm that it accepted a mail",
    Mode.SILENT: "Silent: accepts mail, but never says so",
    Mode.HANGS_AT_QUIT: "Hangs at QUIT: accepts mail, but never ends the conversation",
    Mode.DRIPS: "Drips: answers one byte every half second",
    Mode.FORGETS: "Forgets: takes the text of a mail, then drops the connection and the mail",
    Mode.HANGS: "Hangs: accepts the connection, but never answers",
}


def create_blueprint(mailbox: Mailbox) -> Blueprint:
    pages = Blueprint("mail", __name__)

    @pages.get("/mailbox/")
    def show_mailbox() -> Any:
        return render_template(
            "mailbox.html",
            mails=mailbox.mails()[::-1],
            address=mailbox.address,
            mode=mailbox.mode,
            mode_words=MODE_WORDS,
        )

    @pages.get("/mailbox.json")
    def mailbox_json() -> Any:
        """All mails, oldest first."""
        return jsonify(
            {
                "address": mailbox.address,
                "mode": mailbox.mode.value,
                "mails": [mail.as_json() for mail in mailbox.mails()],
            }
        )

    @pages.post("/mailbox/mode")
    def set_mode() -> Any:
        try:
            mailbox.mode = Mode(request.form.get("mode", ""))
        except ValueError:
            abort(400, f"mode must be one of {', '.join(mode.value for mode in Mode)}.")
        return redirect(url_for(".show_mailbox"), 303)

    return pages
