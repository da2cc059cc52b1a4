"""Sends events out of the service: webhooks and mail.  The only place that speaks to receivers."""

from csbs.notify.base import Mailer, WebhookSender
from csbs.notify.http_sender import HttpOptions, HttpSender
from csbs.notify.mail_sender import MailOptions, MailSecurity, SmtpMailer

__all__ = [
    "HttpOptions",
    "HttpSender",
    "MailOptions",
    "MailSecurity",
    "Mailer",
    "SmtpMailer",
    "WebhookSender",
]
