"""What does a loss really compute? A stranger's function held against every convention."""

from nearfar.check.api import check
from nearfar.check.equivalent import assert_equivalent
from nearfar.check.forms import FORMS
from nearfar.check.report import Report
from nearfar.check.targets import BadRequest, BadTarget

__all__ = ["FORMS", "BadRequest", "BadTarget", "Report", "assert_equivalent", "check"]
