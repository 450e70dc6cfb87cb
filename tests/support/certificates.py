"""Self-signed certificates for servers in tests."""

import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_certificate(folder: Path, name: str = "localhost", days: int = 1) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for a host name or an IPv6 address, valid until `days` from now.

    Returns the server's TLS context and the file of its CA.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    other_name = x509.IPAddress(ip_address(name)) if ":" in name else x509.DNSName(name)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        # OpenSSL reads the machine's clock even if a test moves Python's ahead.
        .not_valid_before(end - datetime.timedelta(days=1000))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([other_name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca, private = folder / "ca.pem", folder / "key.pem"
    ca.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ca, private)
    return context, ca
