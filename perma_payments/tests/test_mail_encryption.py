"""Mail goes over TLS in both ways that mail servers know, to servers whose certificate is trusted."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from perma_payments.emails import Mail, MailServer, Unreachable, recipients

from .mail_server import mail_server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The path of a certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now, day = datetime.now(UTC), timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("mail") / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.fixture(params=["EMAIL_USE_SSL", "EMAIL_USE_TLS"])
def secure_mailbox(request, certificate, settings):
    """What a mail server is sent that speaks TLS from the first byte, or takes no mail before STARTTLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    way = "tls" if request.param == "EMAIL_USE_SSL" else "starttls"
    with mail_server(settings, **{way: context}) as mailbox:
        setattr(settings, request.param, True)
        yield mailbox


def send():
    with MailServer() as server:
        server.send(Mail("Subject", "Body"), to=recipients("STAFF_EMAILS"), message_id="mail-1")


def test_a_mail_arrives_over_tls(secure_mailbox, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send()
    assert secure_mailbox.subjects == ["Subject"]


def test_a_server_whose_certificate_is_not_trusted_gets_no_mail(secure_mailbox):
    with pytest.raises(Unreachable, match="SSLCertVerificationError"):
        send()
    assert secure_mailbox.mails == []


def test_a_server_that_cannot_change_to_tls_gets_no_mail(mailbox, settings):
    settings.EMAIL_USE_TLS = True
    with pytest.raises(Unreachable, match="SMTPNotSupportedError"):
        send()
    assert mailbox.mails == []
