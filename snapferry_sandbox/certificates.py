"""The sandbox's certificate authority, and the certificates it signs.

Everything is PEM; keys are PKCS#8, which is what OpenSearch's security plugin reads.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ADMINISTRATOR = "administrator"
"""Common name of the client certificate that the clusters take as their administrator's."""

_ORGANIZATION = "Snapferry sandbox"
_VALIDITY = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each a PEM file."""

    certificate_file: Path
    key_file: Path


@dataclass(frozen=True)
class Authority:
    """The certificate authority of one world."""

    ca_file: Path
    """The authority's own certificate."""
    bundle_file: Path
    """The public authorities (certifi's) and this one: for programs that call both."""
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    def issue(self, common_name: str, folder: Path) -> Certificate:
        """Sign a certificate for 127.0.0.1 and localhost, good for servers and for clients.

        Args:
            common_name: names its owner; see `distinguished_name`.
            folder: takes `<common name>.pem` and `<common name>-key.pem`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _builder(_name(common_name), self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        issued = Certificate(folder / f"{common_name}.pem", folder / f"{common_name}-key.pem")
        issued.certificate_file.write_bytes(_pem(certificate))
        issued.key_file.touch(mode=0o600)
        issued.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued


def create_authority(folder: Path) -> Authority:
    """Make a certificate authority; its key stays in memory.

    Args:
        folder: takes `ca.pem` and `ca-bundle.pem`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("authority")
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_AUTHORITY_KEY_USAGE, critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder / "ca.pem", folder / "ca-bundle.pem", certificate, key)
    authority.ca_file.write_bytes(_pem(certificate))
    authority.bundle_file.write_bytes(Path(certifi.where()).read_bytes() + _pem(certificate))
    return authority


def distinguished_name(common_name: str) -> str:
    """Return the subject of a certificate of that common name, as OpenSearch writes it."""
    return f"CN={common_name},O={_ORGANIZATION}"


_AUTHORITY_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _name(common_name: str) -> x509.Name:
    # From the least to the most specific; RFC 2253's text form turns it round.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A little in the past: a virtual machine's clock may step back.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
