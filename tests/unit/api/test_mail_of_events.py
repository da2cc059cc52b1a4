"""Events go by mail to the server that the operator's settings name."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiosmtpd.smtp import LoginPassword

from csbs.notify.mail_sender import MailSecurity
from csbs.testing.live_api import live_api
from csbs.testing.tls import self_signed
from tests.unit.notify.smtp_servers import Doorkeeper, Inbox, server, tls_options


@pytest.mark.parametrize("security", [MailSecurity.STARTTLS, MailSecurity.TLS])
def test_mail_goes_as_the_settings_say(tmp_path: Path, security: MailSecurity) -> None:
    certificate = self_signed(tmp_path, "IP:127.0.0.1")
    inbox, door = Inbox(), Doorkeeper()
    with (
        server(inbox, **tls_options(security, certificate), authenticator=door) as port,
        live_api(
            tmp_path,
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_security=security,
            smtp_user="csbs",
            smtp_password="secret",  # noqa: S106  of a test
            smtp_from="csbs@b.example",
            notification_ca_file=str(certificate.certificate),
        ) as api,
        api.as_user() as admin,
    ):
        path = f"/native/v1/projects/{api.project_id}/notifications"
        body = {"name": "ops", "channel": "mail", "recipients": ["ops@b.example"]}
        assert admin.post(path, json=body).status_code == 201
        tried = admin.post(f"{path}/ops/test")

    assert tried.json() == {"received": True, "why": ""}
    assert LoginPassword(b"csbs", b"secret") in door.given
    assert inbox.message()["From"] == "csbs <csbs@b.example>"
    assert "events of this project are sent here" in inbox.message()["Subject"]
