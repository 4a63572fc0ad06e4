from tests.support.breaking_simulator import host as host
from tests.support.connections import direct_connections as direct_connections
