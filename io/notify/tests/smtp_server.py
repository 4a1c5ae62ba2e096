"""A real SMTP server (aiosmtpd) that prints what it takes, one JSON object a line.

Arguments: certificate file, key file, and any of: starttls, auth, reject, flaky.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, modes):
        self.modes = modes
        self.seen = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if "reject" in self.modes:
            return "550 5.1.1 no such mailbox"
        self.seen += 1
        if "flaky" in self.modes and self.seen == 1:
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        say(
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            tls=session.ssl is not None,
            auth=bool(session.authenticated),
            data=envelope.content.decode("utf-8"),
        )
        return "250 taken"


def say(**what):
    print(json.dumps(what), flush=True)


def authenticate(server, session, envelope, mechanism, data):
    # `handled=False` lets aiosmtpd answer 535 itself.
    return AuthResult(success=(data.login, data.password) == (b"trimtab", b"correct horse"), handled=False)


async def main():
    certificate, key, *modes = sys.argv[1:]
    settings = {}
    if "starttls" in modes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        settings = {"tls_context": context, "require_starttls": True}
    if "auth" in modes:
        settings |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": True}
    handler = Handler(modes)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="mail.test", **settings), "127.0.0.1", 0
    )
    say(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
