"""What does a loss really compute? A stranger's function held against every convention."""

from nearfar.check.api import check
from nearfar.check.equivalent import assert_equivalent
from nearfar.check.report import Report
from nearfar.check.target.forms import FORMS
from nearfar.check.target.targets import BadRequest, BadTarget

__all__ = ["FORMS", "BadRequest", "BadTarget", "Report", "assert_equivalent", "check"]
