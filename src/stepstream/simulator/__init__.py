"""A server of both APIs, Responses and Assistants, for demos and tests: `app` is the application, `serve` serves it."""

from stepstream.simulator.application import app
from stepstream.simulator.faults import FAULTS
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.serving import serve

__all__ = ["FAULTS", "SCENARIOS", "Scenario", "app", "serve"]
