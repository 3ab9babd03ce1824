"""Why a connection to a broker was not made or has ended, each as the one line that names the mend."""

from __future__ import annotations

import ssl

from edge.mqtt.settings import BrokerSettings
from firmware_cfg.errors import BrokerError

_LOGIN_REFUSED = ("Not authorized", "Bad user name or password")


class DialError(BrokerError):
    """A connection could not be made; trying again may help."""


class LoginError(DialError):
    """The broker was asked and said that this login is not good."""


class VersionError(DialError):
    """This MQTT version found no answer: is a switch to the other one `lasting`? Was there `silence`?"""

    def __init__(self, line: str, *, lasting: bool = False, silence: bool = False) -> None:
        super().__init__(line)
        self.lasting = lasting
        self.silence = silence


def unreachable(settings: BrokerSettings, error: OSError) -> DialError:
    """There is no network connection, or none with TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        mend = _mend_of_trust(error.verify_message)
        problem = f"the broker's certificate is not trusted: {error.verify_message} ({mend})"
        return DialError(f"{settings.address}: {problem}")
    if isinstance(error, ssl.SSLError):
        if error.reason is not None and "ALERT" in error.reason:
            return certificate_refused(settings, error.reason)
        problem = f"no TLS connection: {error.reason or error} (does the broker speak TLS on this port?)"
        return DialError(f"{settings.address}: {problem}")
    mend = "is the broker up and the network there?"
    if isinstance(error, TimeoutError):
        problem = "no answer in time"
    else:
        problem = (error.strerror or str(error)).lower()
        if settings.address.tls and isinstance(error, ConnectionResetError):
            mend = "does the broker speak TLS on this port?"
    return DialError(f"{settings.address}: {problem} ({mend})")


def refused(
    settings: BrokerSettings, *, answered: bool, reason: str | None, tls_alert: str | None
) -> DialError:
    """The broker was reached and does not let us in.

    Args:
        answered: whether anything came back in time.
        reason: the broker's own, by MQTT's name for it; None where it hung up.
        tls_alert: by OpenSSL's name, where TLS ended the connection.
    """
    address = settings.address
    if not answered:
        # amqtt, for one, reads on for ever in a CONNECT of MQTT 5 that carries a last will. A broker that is
        # merely slow does the same.
        line = f"{address}: connects, but does not answer (is it an MQTT broker?)"
        return VersionError(line, silence=True)
    if reason is None:
        if tls_alert is not None and "ALERT" in tls_alert:
            return certificate_refused(settings, tls_alert)
        # Its alert may get lost where the broker resets the connection; our own certificate tells as well.
        if settings.certificate_ended() is not None:
            return certificate_refused(settings, "hangs up")
        tls = "" if address.tls else " where it speaks TLS on this port, use mqtts://"
        line = f"{address}: hangs up without an answer (is it an MQTT broker?{tls})"
        return VersionError(line)
    if reason == "Unsupported protocol version":
        return VersionError(f"{address}: the broker speaks neither MQTT 5 nor 3.1.1", lasting=True)
    if reason in _LOGIN_REFUSED:
        return LoginError(f"{address}: the broker refused {_login(settings)}")
    return DialError(f"{address}: the broker refused the connection: {reason}")


def certificate_refused(settings: BrokerSettings, alert: str) -> DialError:
    """TLS says that the broker does not like our certificate, or that we have none."""
    said = alert.partition("ALERT_")[2].replace("_", " ").lower() or alert
    path = settings.certificate
    if path is None:
        problem = f"the broker wants a certificate: {said} (name tls.cert and tls.key in the device file)"
    elif (ended := settings.certificate_ended()) is not None:
        problem = f"tls.cert {path}: refused, it expired at {ended:%Y-%m-%d %H:%M} UTC (put a new one there)"
    else:
        problem = f"tls.cert {path}: refused by the broker: {said} (put one there that it trusts)"
    return DialError(f"{settings.address}: {problem}")


def lost(reason: str, *, flaps: bool) -> str:
    """Why a connection ended, by MQTT's reason; `flaps`: so did the one before it, after a short while."""
    if reason == "Session taken over":
        return "the connection was taken away (is the device id used twice?)"
    if flaps:  # some versions of mosquitto cut the first of two clients of one id without a word
        return "the connection is lost again and again (a bad link, or is the device id used twice?)"
    return "the connection was lost" if reason == "Unspecified error" else reason.lower()


def _mend_of_trust(problem: str) -> str:
    if "expired" in problem or "not yet valid" in problem:
        return "renew it at the broker, or mend this device's clock"
    if problem.startswith(("Hostname mismatch", "IP address mismatch")):
        return "reach the broker by a name that is in its certificate"
    return "name the authority that signed it as tls.ca"


def _login(settings: BrokerSettings) -> str:
    if settings.username is not None:
        who = f"the password or the user name {settings.username!r}"
    elif settings.certificate is not None:
        who = f"the name in tls.cert {settings.certificate}"
    else:
        who = "a login without user name"
    return f"{who} (mend the login: the device file's mqtt section, or --username and --password-file)"
