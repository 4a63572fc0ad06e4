"""Never run, read by mypy: a name that the front door does not have is an error, however it is asked for.

`warn_unused_ignores` is on, so each `type: ignore` below is itself a check: without the error it would be one.
"""

import stepstream
from stepstream import Procesor  # type: ignore[attr-defined]
from stepstream import StepTransitoin as Misspelt  # type: ignore[attr-defined]

stepstream.Procesor()  # type: ignore[attr-defined]
stepstream.Processor().sttaistics()  # type: ignore[attr-defined]
processor: stepstream.Processor = stepstream.Processor()

__all__ = ["Misspelt", "Procesor", "processor"]
