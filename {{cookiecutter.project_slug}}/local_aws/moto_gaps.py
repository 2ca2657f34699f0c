"""What moto lacks of the services it answers, added to its own classes on the first request of a service."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import botocore.session
from moto.core.responses import ActionResult, EmptyResult

from local_aws.validation import problems


@cache
def fill(service: str) -> None:
    """Adds what is missing in this service; nothing where nothing is."""
    if service in GAPS:
        GAPS[service]()


def _codebuild() -> None:
    """Projects with all that was asked for: moto keeps half of it, wants a place of sources that have none,
    and cannot update a project."""
    from moto.codebuild.exceptions import (
        InvalidInputException,
        ResourceAlreadyExistsException,
        ResourceNotFoundException,
    )
    from moto.codebuild.models import CodeBuild
    from moto.codebuild.responses import CodeBuildResponse

    model = botocore.session.Session().get_service_model("codebuild")

    def checked(self: CodeBuildResponse, operation: str) -> dict[str, Any]:
        request = json.loads(self.body)
        found = list(problems(model.operation_model(operation).input_shape, request, operation))
        if found:
            raise InvalidInputException("; ".join(found))
        return request

    def arn(self: CodeBuildResponse, name: str) -> str:
        return f"arn:aws:codebuild:{self.region}:{self.current_account}:project/{name}"

    def create_project(self: CodeBuildResponse) -> ActionResult:
        request, backend = checked(self, "CreateProject"), self.codebuild_backend
        name = request["name"]
        if name in backend.codebuild_projects:
            raise ResourceAlreadyExistsException(f"Project already exists: {arn(self, name)}")
        project = CodeBuild(
            self.current_account,
            self.region,
            name,
            request.get("description"),
            request["source"],
            request["artifacts"],
            request["environment"],
            request["serviceRole"],
        )
        project.project_metadata |= request
        backend.codebuild_projects[name], backend.build_history[name] = project, []
        return ActionResult({"project": project.project_metadata})

    def update_project(self: CodeBuildResponse) -> ActionResult:
        request = checked(self, "UpdateProject")
        project = self.codebuild_backend.codebuild_projects.get(request["name"])
        if project is None:
            raise ResourceNotFoundException(f"Project cannot be found: {arn(self, request['name'])}")
        project.project_metadata |= request
        return ActionResult({"project": project.project_metadata})

    CodeBuildResponse.create_project = create_project
    CodeBuildResponse.update_project = update_project


def _budgets() -> None:
    from moto.budgets.exceptions import NotFoundException
    from moto.budgets.responses import BudgetsResponse

    def update_budget(self: BudgetsResponse) -> EmptyResult:
        budget, account = self._get_param("NewBudget"), self._get_param("AccountId")
        known = self.backend.budgets[account]
        if budget["BudgetName"] not in known:
            raise NotFoundException(f"Unable to update budget: {budget['BudgetName']} does not exist")
        known[budget["BudgetName"]].budget |= budget
        return EmptyResult()

    BudgetsResponse.update_budget = update_budget


GAPS: dict[str, Callable[[], None]] = {
    "budgets": _budgets,
    "codebuild": _codebuild,
}
