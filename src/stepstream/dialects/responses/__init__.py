"""The Responses dialect: `response.*` events, one response a run, one output item a step."""
