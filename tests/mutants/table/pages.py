"""What the dashboard shows does nothing, is of now, and for those alone who may see it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="asked-before-a-job-is-deleted",
        promises=(10,),
        guard="a job is deleted from its page once that was confirmed",
        file="web/pages/job.py",
        old="if not call.body.confirmed:",
        new="if False:",
        tests=("web/test_steering_pages.py::test_a_job_is_deleted_once_that_was_confirmed",),
    ),
    Mutant(
        name="asked-before-a-schedule-is-deleted",
        promises=(7,),
        guard="a schedule is deleted from its page once that was confirmed",
        file="web/pages/schedules.py",
        old="if not call.body.confirmed:",
        new="if False:",
        tests=("web/test_steering_pages.py::test_a_schedule_is_deleted_once_that_was_confirmed",),
    ),
    Mutant(
        name="values-of-signals-are-read-as-bodies-are",
        promises=(15,),
        guard="a value in a form is nested no deeper than a body may be",
        file="web/reading.py",
        old="if _is_deeper(body, depth):",
        new="if False:",
        tests=("web/test_steering_pages.py::test_a_value_that_is_no_json_is_refused_and_not_sent",),
    ),
    Mutant(
        name="pages-escape",
        promises=(15,),
        guard="what stands in a page is text, unless it was made as markup",
        file="web/pages/rendering.py",
        old="autoescape=True,",
        new="autoescape=False,",
        tests=("web/test_pages.py::test_what_an_address_says_is_text_on_the_page",),
    ),
    Mutant(
        name="text-of-jobs-is-escaped",
        promises=(15,),
        guard="text of jobs is escaped, also where nothing in it is hidden",
        file="web/pages/texts.py",
        old='parts.append(escape(_SEEN.sub("\\ufffd", said[at:])))',
        new='parts.append(_SEEN.sub("\\ufffd", said[at:]))',
        tests=("unit/test_shown.py", "web/test_pages.py"),
    ),
    Mutant(
        name="overrides-of-direction-are-named",
        promises=(15,),
        guard="what turns text round is shown by its name",
        file="web/pages/texts.py",
        old="\\u2028-\\u202e",
        new="\\u2028-\\u2029",
        tests=("unit/test_shown.py", "web/test_pages.py"),
    ),
    Mutant(
        name="forms-lead-nowhere-else",
        promises=(15,),
        guard="an address that browsers read as that of another site is not gone to",
        file="web/pages/saying.py",
        old='or wanted.startswith("//") or not wanted.isprintable():',
        new="or not wanted.isprintable():",
        tests=("unit/test_shown.py",),
    ),
    Mutant(
        name="shared-pages-are-of-one-who-asks",
        promises=(15,),
        guard="a page that was made for one is not given to another, who may see less",
        file="web/pages/shared.py",
        old='scope["query_string"], call.who)',
        new='scope["query_string"])',
        tests=("web/test_pages.py::test_each_is_shown_a_page_as_who_they_are",),
    ),
    Mutant(
        name="changes-forget-pages",
        promises=(15,),
        guard="after a change nobody is shown what was before it",
        file="web/pages/shared.py",
        old="_pages(call).forget()",
        new="pass",
        tests=("web/test_pages.py::test_nobody_is_shown_what_was_before_a_change_that_they_made",),
    ),
    Mutant(
        name="delete-of-selected-needs-an-admin",
        promises=(15,),
        guard="whoever may not delete a job may not delete several either",
        file="web/pages/jobs.py",
        old='if form.verb == "delete" and not call.may(Role.ADMIN):',
        new="if False:",
        tests=("web/test_pages.py::test_selected_jobs_are_deleted_by_admins_alone",),
    ),
    Mutant(
        name="no-more-than-were-expected",
        promises=(15,),
        guard="of more jobs than were counted, nobody is told how many of how many are done",
        file="web/bulk.py",
        old="return self.changed <= self.expected and (self.exact or self.changed < self.expected)",
        new="return True",
        tests=("web/test_bulk.py::test_how_far_it_is_is_told_in_numbers_that_make_sense",),
    ),
    Mutant(
        name="a-refused-form-is-not-looked-at-again",
        promises=(15,),
        guard="a page whose address cannot be looked at does not ask for it",
        file="web/pages/routes.py",
        old='if method != "POST" and problem.status >= 500 else ""',
        new='or ""',
        tests=(
            "web/test_steering_pages.py"
            "::test_a_page_that_refuses_is_looked_at_again_where_that_may_help_alone",
        ),
    ),
    Mutant(
        name="a-refused-form-comes-back",
        promises=(15,),
        guard="what was typed into a form that is refused stands there, to be mended",
        file="web/pages/bulk.py",
        old="if not form.said() or",
        new="if True or",
        tests=(
            "web/test_steering_pages.py::test_a_form_that_is_refused_comes_back_as_it_was_typed",
        ),
    ),
)
