"""Makes connections to a broker, in the version of MQTT that it speaks."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field

from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.refusals import VersionError
from edge.mqtt.settings import BrokerSettings, Version

log = logging.getLogger(__name__)


_MOST_SILENT = 3  # connections in a row at which one version found silence and the other an answer


@dataclass(slots=True)
class Dialer:
    """MQTT 5 first, then 3.1.1: each time anew, until the broker has said, or shown again and again, that it
    does not speak MQTT 5."""

    settings: BrokerSettings
    plan: ConnectionPlan
    version: Version = field(init=False)
    _silent: int = field(default=0, init=False)
    _name_told: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.version = self.settings.first_version

    def dial(self) -> Connection:
        """A connection that the broker accepted. Raises BrokerError with the one line to show."""
        try:
            connection = self._dial(self.version)
        except VersionError as first:
            other: Version = "3.1.1" if self.version == "5" else "5"
            try:
                connection = self._dial(other)
            except VersionError:
                raise first from None
            log.info("%s: no MQTT %s there, speaking MQTT %s", self.settings.address, self.version, other)
            self._silent = self._silent + 1 if first.silence else 0
            if first.lasting or self._silent >= _MOST_SILENT:
                self.version = other
        else:
            self._silent = 0
        self._tell_name()
        return connection

    def try_login(self) -> None:
        """Connects beside the connection that there is, and ends it at once. Raises BrokerError."""
        client_id = f"{self.plan.client_id}-{uuid.uuid4().hex[:8]}"
        connection = Connection(self.settings, self.version, ConnectionPlan(client_id, lambda *_: None))
        connection.open()
        connection.close()
        connection.release()

    def _tell_name(self) -> None:
        """One line where the broker knows a device by another name than its own. That may be as it should."""
        name, device = self.settings.login_name(), self.plan.client_id.removeprefix("remoteclip-")
        if self.plan.will is None or name in (None, device, self._name_told):  # without a will: no device
            return
        self._name_told = name
        log.info(
            "%s: logs in as %r, but the device is %r: where the acl goes by the id, it may not write",
            *(self.settings.address, name, device),
        )

    def _dial(self, version: Version) -> Connection:
        connection = Connection(self.settings, version, self.plan)
        connection.open()
        return connection
