"""The tasks, by what tells rows apart: class labels or numeric targets."""

from nearfar.cli.tasks.base import Task
from nearfar.cli.tasks.classes import Classes
from nearfar.cli.tasks.targets import Targets

# Under the names the losses have for them.
TASKS: dict[str, type[Task]] = {"labels": Classes, "targets": Targets}

__all__ = ["TASKS", "Task"]
