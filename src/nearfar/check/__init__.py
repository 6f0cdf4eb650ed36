"""What does a loss really compute? A stranger's function held against every convention."""

from nearfar.check.api import check
from nearfar.check.forms import FORMS
from nearfar.check.report import Report
from nearfar.check.targets import BadRequest, BadTarget

__all__ = ["FORMS", "BadRequest", "BadTarget", "Report", "check"]
