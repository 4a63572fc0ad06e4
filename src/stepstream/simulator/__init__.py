"""An Assistants-compatible server for demos and tests: `app` is the ASGI application, `serve` puts it on a port."""

from stepstream.simulator.application import app
from stepstream.simulator.faults import FAULTS
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.serving import serve

__all__ = ["FAULTS", "SCENARIOS", "Scenario", "app", "serve"]
