"""Makes connections to a broker, in the version of MQTT that it speaks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.refusals import VersionError
from edge.mqtt.settings import BrokerSettings, Version

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Dialer:
    """MQTT 5 first, then 3.1.1, which it stays with unless the broker had merely hung up."""

    settings: BrokerSettings
    plan: ConnectionPlan
    version: Version = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.settings.first_version

    def dial(self) -> Connection:
        """A connection that the broker accepted. Raises BrokerError with the one line to show."""
        try:
            return self._dial(self.version)
        except VersionError as first:
            other: Version = "3.1.1" if self.version == "5" else "5"
            try:
                connection = self._dial(other)
            except VersionError:
                raise first from None
            log.info("%s: no MQTT %s there, speaking MQTT %s", self.settings.address, self.version, other)
            if first.lasting:
                self.version = other
            return connection

    def _dial(self, version: Version) -> Connection:
        connection = Connection(self.settings, version, self.plan)
        connection.open()
        return connection
