"""What happens by itself: schedules, alarms, rules and the events of SageMaker, on a clock of their own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_aws.events.alarms import Alarms
    from local_aws.events.deliver import Courier
    from local_aws.events.rules import Rules
    from local_aws.events.scheduler import Scheduler
    from local_aws.sagemaker import SageMaker


class Events:
    """The parts, each loaded when it is first needed: the start of the server waits for none."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api
        self._parts: dict[str, Any] = {}

    def install(self, service: str) -> None:
        """Before moto answers a request to EventBridge (events) or CloudWatch (monitoring)."""
        _ = self.rules if service == "events" else self.alarms

    @property
    def courier(self) -> "Courier":
        return self._part("courier", self._new_courier)

    @property
    def scheduler(self) -> "Scheduler":
        return self._part("scheduler", self._new_scheduler)

    @property
    def rules(self) -> "Rules":
        """Rules and their targets; from now on moto's EventBridge sends by way of them."""
        return self._part("rules", self._new_rules)

    @property
    def alarms(self) -> "Alarms":
        """Alarms; from now on moto's CloudWatch answers for them."""
        return self._part("alarms", self._new_alarms)

    def _part(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._parts:
            with self.api.clock.turn:
                if name not in self._parts:
                    self._parts[name] = make()
        return self._parts[name]

    def _new_courier(self) -> "Courier":
        from local_aws.events.deliver import Courier

        courier = Courier(self.api)
        self.api.clock.add(courier)
        return courier

    def _new_scheduler(self) -> "Scheduler":
        from local_aws.events.scheduler import Scheduler

        scheduler = Scheduler(self.api)
        self.api.clock.add(scheduler)
        return scheduler

    def _new_rules(self) -> "Rules":
        from local_aws.events import rules, sagemaker_events

        found = rules.Rules(self.api)
        rules.install(found)
        sagemaker_events.Emitter(self.api, found).start()
        return found

    def _new_alarms(self) -> "Alarms":
        from local_aws.events import alarms, cloudwatch

        found = alarms.Alarms(self.api)
        cloudwatch.install(found)
        self.api.clock.add(found)
        return found
