"""Packages whose name is not that of what they let one import. Pure.

Names are compared from the left, level by level, and the longest one counts: `google.cloud.storage` before `google`.
"""

from __future__ import annotations

from collections.abc import Sequence

PACKAGES = {
    "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "Xlib": "python-xlib",
    "attr": "attrs",
    "azure.core": "azure-core",
    "azure.identity": "azure-identity",
    "azure.iot.device": "azure-iot-device",
    "azure.iot.hub": "azure-iot-hub",
    "azure.servicebus": "azure-servicebus",
    "azure.storage.blob": "azure-storage-blob",
    "board": "adafruit-blinka",
    "bs4": "beautifulsoup4",
    "busio": "adafruit-blinka",
    "can": "python-can",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "digitalio": "adafruit-blinka",
    "discord": "discord.py",
    "distutils": "setuptools",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "gnupg": "python-gnupg",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.firestore": "google-cloud-firestore",
    "google.cloud.logging": "google-cloud-logging",
    "google.cloud.pubsub": "google-cloud-pubsub",
    "google.cloud.pubsub_v1": "google-cloud-pubsub",
    "google.cloud.secretmanager": "google-cloud-secret-manager",
    "google.cloud.storage": "google-cloud-storage",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client",
    "grpc": "grpcio",
    "influxdb_client_3": "influxdb3-python",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "mysql": "mysql-connector-python",
    "nacl": "pynacl",
    "paho": "paho-mqtt",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "pylab": "matplotlib",
    "pythoncom": "pywin32",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "ruamel": "ruamel.yaml",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "smbus": "smbus2",
    "socks": "pysocks",
    "telegram": "python-telegram-bot",
    "tlz": "toolz",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "whois": "python-whois",
    "win32api": "pywin32",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}

SHARED = frozenset({"azure", "google"})
"""Names under which many packages put theirs: by itself such a name is no package."""


def package_of(parts: Sequence[str]) -> str | None:
    """The package that `import a.b.c` needs, given as its parts; None where the name alone does not tell."""
    for length in range(len(parts), 0, -1):
        if (package := PACKAGES.get(".".join(parts[:length]))) is not None:
            return package
    return None if parts[0] in SHARED else parts[0]
